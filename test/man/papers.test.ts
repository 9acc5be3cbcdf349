// SPDX-License-Identifier: Apache-2.0
// examples/make/papers.mk: the calls of vpref that its cells make, recorded by a stub, and a small matrix of the bundled model, run.
import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { withoutEngine } from '../support/native.ts';
import { ensureBuilt, root, runShell, temporaryFolder } from '../support/run-cli.ts';

ensureBuilt();
const rules = join(root, 'examples/make/papers.mk');

// Records each call and creates its output; a second call with the same output is recorded as `FILE twice`.
const stub = `#!/bin/bash
echo "$*" >>calls
[ "$1 $2" = "eval published" ] && { echo table >"\${@: -1}"; exit; }
[ "$1" = eval ] && { echo '{"benchmark":"'$2'","split":"all","n":3,"score":50}'; exit; }
while [ $# -gt 0 ]; do
  case $1 in -o) out=$2 ;; --summary) echo '{"summary":"train","seconds":90,"gpu_hours":0.2}' >"$2" ;; esac
  shift
done
[ -e "$out" ] && echo "$out twice" >>calls
case $out in *.adapter) mkdir -p "$out"; touch "$out/adapter_model.safetensors" ;; *) touch "$out" ;; esac
`;

const real = `MODEL=m DATA=mix.json IMAGES=data LRV=lrv.json LRV_IMAGES=vg SCIGRAPHQA=sg.json FIGURES=fig \
  QUESTIONS_pope=pope.json IMAGES_pope=val2014 QUESTIONS_mmvet=mm-vet.json IMAGES_mmvet=images JUDGES=self`;

function folder(): string {
  const cwd = temporaryFolder('papers');
  for (const name of ['mix.json', 'lrv.json', 'sg.json', 'pope.json', 'mm-vet.json'])
    writeFileSync(join(cwd, name), '');
  writeFileSync(join(cwd, 'stub'), stub, { mode: 0o755 });
  return cwd;
}

async function matrix(cwd: string, settings: string) {
  const { code, stdout, stderr } = await runShell(`make -s -f ${rules} VPREF=./stub DIR=out ${settings}`, { cwd });
  const path = join(cwd, 'calls');
  const calls = existsSync(path) ? readFileSync(path, 'utf8').trimEnd().split('\n') : [];
  return { code, stdout, stderr, calls };
}

const rowsOf = (cwd: string) =>
  readFileSync(join(cwd, 'out/rows.ndjson'), 'utf8')
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line));

test('both papers: each file is made once, four at a time, and every row has its parameter', async () => {
  const cwd = folder();
  const { code, stderr, calls } = await matrix(cwd, `-j 4 ${real}`);
  assert.equal(code, 0, stderr);
  assert.deepEqual(
    calls.filter((call) => call.endsWith(' twice')),
    [],
  );
  const made = (verb: string, pattern: RegExp) =>
    calls.filter((call) => call.startsWith(`${verb} `) && pattern.test(call));
  const one = (verb: string, pattern: RegExp) => {
    const found = made(verb, pattern);
    assert.equal(found.length, 1, `${verb} ${pattern}: ${found.join('\n')}`);
    return found[0]!;
  };

  // SeVa: 7B's base, and what each experiment changes.
  assert.match(
    one('import', /questions,base\./),
    /^import llava mix.json --image-root data --turns 2 --source textvqa,ocr_vqa --limit textvqa=8000 --limit ocr_vqa=8000 /,
  );
  assert.match(one('import', /questions,size-4000,source-gqa/), /--source gqa --limit gqa=4000 /);
  assert.match(one('augment', /seva,base\./), /--op diffusion:step=800 --seed 0 /);
  assert.match(one('augment', /step-500/), /--op diffusion:step=500 /);
  assert.match(one('augment', /augmentation-moco/), /--op moco /);
  assert.match(one('augment', /negatives-3/), /--op diffusion:step=800 --op moco --op autoaugment /);
  assert.match(one('pair', /pairs\/negatives-3\.ndjson/), /--preset seva-7b +--negatives 3 /);
  assert.match(one('train', /cells\/negatives-3\./), /--loss softmax /);
  assert.match(
    one('train', /cells\/base\./),
    /^train out\/pairs\/base.ref.ndjson --model m --preset seva-7b +--seed 0 /,
  );
  assert.match(
    one('train', /cells\/lora-r-64\./),
    /^train out\/pairs\/base.ref.ndjson .*--lora-r 64 --lora-alpha 128 /,
  );
  assert.match(one('train', /cells\/beta-0.5\./), /--beta 0.5 /);
  assert.match(one('train', /cells\/loss-ipo\./), /--loss ipo /);

  // Li et al.: four draws, graded, once for all methods.
  assert.match(one('import', /lrv,base\.lrv/), /^import lrv lrv.json .*--limit 2562 /);
  assert.match(one('import', /lrv,share-50\.scigraphqa/), /^import scigraphqa sg.json .*--limit 1261 /);
  one('sample', /answers\/judged,base\./);
  assert.match(one('annotate', /graded\/base\./), /--judge gemini:gemini-2.5-pro --guide helpsteer /);
  assert.match(
    one('annotate', /graded\/judge-self\./),
    /--judge local:m --guide helpsteer-local .* out\/answers\/judged,base.ndjson /,
  );
  assert.match(
    one('pair', /pairs\/flip-0.25,method-dpo\.ndjson/),
    /--preset li2024-dpo --flip 0.25 .* out\/graded\/base.ndjson /,
  );
  assert.match(one('pair', /pairs\/method-rs\./), /--preset li2024-rs .* out\/graded\/base.ndjson /);
  assert.match(
    one('train', /cells\/method-steerlm\./),
    /^train out\/pairs\/method-steerlm.ndjson .*--preset li2024-steerlm /,
  );
  assert.match(one('sample', /cells\/method-steerlm\.pope/), /--steer helpfulness=4,/);
  assert.match(one('import', /dialogues,size-66000/), /^import llava mix.json --image-root data +--limit 66000 /);
  assert.doesNotMatch(one('import', /dialogues,size-66000/), /--turns|--source/);
  assert.match(one('train', /cells\/method-continued,size-102000\./), /--preset llava-sft-lora /);

  // Each adapter answers every benchmark; MM-Vet is graded first.
  assert.match(one('sample', /cells\/base\.mmvet/), /--adapter out\/cells\/base.adapter /);
  assert.match(one('annotate', /cells\/base\.mmvet/), /--judge openai:gpt-4 --guide mm-vet /);
  assert.match(one('eval', /cells\/base\.mmvet/), /^eval mmvet out\/cells\/base.mmvet.graded.ndjson$/);
  assert.match(one('eval', /cells\/base\.pope/), /--labels pope.json$/);

  const rows = rowsOf(cwd);
  const paramsOf = (cell: string) =>
    rows.filter((row) => row.cell === cell && row.benchmark === 'pope').map(({ params }) => params);
  assert.deepEqual(paramsOf('lora-r-64'), [{ 'lora-r': '64', seed: '0' }]);
  assert.deepEqual(paramsOf('source-gqa'), [{ source: 'gqa', size: '16000', seed: '0' }]);
  assert.deepEqual(paramsOf('method-continued,size-102000'), [
    { method: 'continued', source: 'textvqa+ocr_vqa', size: '102000', seed: '0' },
  ]);
  assert.deepEqual(
    new Set(paramsOf('base').flatMap((params) => Object.keys(params))),
    new Set(['augmentation', 'step', 'size', 'lora-r', 'beta', 'loss', 'negatives', 'seed', 'method']),
  );
  assert.equal(rows[0].train_seconds, 90);
  assert.equal(rows[0].gpu_hours, 0.2);

  const again = await matrix(cwd, real);
  assert.equal(again.code, 0, again.stderr);
  assert.equal(again.calls.length, calls.length, 'nothing is made again');
});

test('some experiments, more seeds, the 13B preset', async () => {
  const cwd = folder();
  const { code, stderr, calls } = await matrix(
    cwd,
    `${real} PRESET=seva-13b EXPERIMENTS=lora-r LORA_RS=64 SEEDS='0 1'`,
  );
  assert.equal(code, 0, stderr);
  const cells = calls
    .filter((call) => call.startsWith('train '))
    .map((call) => / -o out\/cells\/(\S+)\.adapter/.exec(call)![1]);
  assert.deepEqual(cells.sort(), ['base', 'lora-r-64', 'lora-r-64,seed-1', 'seed-1']);
  assert.match(calls.find((call) => call.startsWith('augment '))!, /diffusion:step=500 /);
  assert.ok(!calls.some((call) => /li2024/.test(call)));
  // Cells go by what differs from the base: with another one their files would be taken for what they are not.
  const other = await matrix(cwd, `${real} PRESET=seva-13b EXPERIMENTS=lora-r LORA_RS=64 SIZE=8000`);
  assert.equal(other.code, 2);
  assert.match(
    other.stderr,
    /out holds a matrix of other settings: expected SIZE=16000, got SIZE=8000; DIR=\.\.\. names another/,
  );
  assert.equal(other.calls.length, calls.length);
});

test('lists for a cluster hold what does not depend on each other; what is missing is named', async () => {
  const cwd = folder();
  const listed = await matrix(cwd, `${real} EXPERIMENTS='beta judge' list-answers list-graded list-pairs list-cells`);
  assert.equal(listed.code, 0, listed.stderr);
  const files = listed.stdout.trimEnd().split('\n');
  assert.deepEqual(
    files.map((file) => file.replace('out/', '')),
    [
      ...['answers/judged,base.ndjson', 'answers/seva,base.ndjson', 'graded/base.ndjson', 'graded/judge-self.ndjson'],
      ...['base', 'judge-self,method-dpo', 'method-dpo'].map((key) => `pairs/${key}.ref.ndjson`),
      ...['before', 'base', 'beta-0.3', 'beta-0.5', 'judge-self,method-dpo', 'method-dpo'].map(
        (cell) => `cells/${cell}.scores.ndjson`,
      ),
    ],
  );
  const bare = await matrix(cwd, 'MODEL=m DATA=mix.json IMAGES=data');
  assert.equal(bare.code, 2);
  assert.match(bare.stderr, /BENCH: expected a value \(QUESTIONS_pope=\.\.\. gives one\), got none/);
});

test('a small matrix of the bundled model', { skip: withoutEngine }, async () => {
  const cwd = temporaryFolder('matrix');
  const captions = readFileSync(join(root, 'fixtures/demo/data/test/captions.jsonl'), 'utf8').split('\n');
  writeFileSync(join(cwd, 'captions.jsonl'), captions.slice(0, 6).join('\n'));
  const line = `make -s -f examples/make/papers.mk DEMO=1 DIR=${cwd}/out SIZE=12 SIZES= BASE_SEEDS=0 BENCH=hallucination \
    QUESTIONS_hallucination=${cwd}/captions.jsonl NEGATIVES=2 METHODS='rs continued' CONTINUED=4 EXPERIMENTS='negatives method'`;
  const { code, stderr } = await runShell(`${line} all`, { cwd: root });
  assert.equal(code, 0, stderr);
  const rows = rowsOf(cwd);
  assert.deepEqual(
    rows.map(({ cell, n, params }) => [cell, n, params]),
    [
      ['base', 6, { negatives: '1', seed: '0' }],
      ['negatives-2', 6, { negatives: '2', seed: '0' }],
      ['base', 6, { method: 'seva', seed: '0' }],
      ['method-rs', 6, { method: 'rs', seed: '0' }],
      ['method-continued,size-4,source-all', 6, { method: 'continued', source: 'all', size: '4', seed: '0' }],
    ],
  );
  const two = readFileSync(join(cwd, 'out/pairs/negatives-2.ndjson'), 'utf8');
  assert.match(two, /"rejected":\["/);
  assert.match(readFileSync(join(cwd, 'out/table.txt'), 'utf8'), /^negatives 2, seed 0 +6 /m);
  assert.match(readFileSync(join(cwd, 'out/report.html'), 'utf8'), /<html/);
  const done = () => readdirSync(join(cwd, 'out/cells')).map((name) => statSync(join(cwd, 'out/cells', name)).mtimeMs);
  const before = done();
  assert.equal((await runShell(`${line} all`, { cwd: root })).code, 0);
  assert.deepEqual(done(), before, 'nothing is made again');
});
