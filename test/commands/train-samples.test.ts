// SPDX-License-Identifier: Apache-2.0
// Covers src/stages/train/samples.ts
// Answers of the moment through the real binary: as `sample` gives them, none twice, none lost.
import assert from 'node:assert/strict';
import { appendFileSync, cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { demoModel, demoPairs, demoPrompts, readRows, toNdjson } from '../support/demo-pairs.ts';
import { withoutEngine as skip } from '../support/native.ts';
import { runCli } from '../support/run-cli.ts';

const folder = mkdtempSync(join(tmpdir(), 'vpref-train-samples-'));
after(() => rmSync(folder, { recursive: true, force: true }));
const path = (name: string) => join(folder, name);
const write = (name: string, rows: readonly object[]) => {
  writeFileSync(path(name), toNdjson(rows));
  return path(name);
};

const prompts: Record<string, unknown>[] = demoPrompts(3).map((record, index) => ({
  ...record,
  sampling_params: { max_new_tokens: 8 + index },
  ...(index === 2 && {
    images: [],
    prompt: [
      { role: 'system', content: 'Be brief.' },
      { role: 'user', content: [{ type: 'text', text: 'Say hello.' }] },
    ],
  }),
}));
const pairs = write('pairs.ndjson', demoPairs(12));
const asked = write('prompts.ndjson', prompts);
const settings = ['--model', demoModel, '--lora-r', '8', '--lr', '5e-3', '--batch-size', '4', '--max-steps', '4'];
const train = (out: string, ...flags: string[]) => runCli(['train', pairs, ...settings, '-o', path(out), ...flags]);
const samples = (out: string) => readFileSync(join(path(out), 'samples.ndjson'), 'utf8');
const adapter = (out: string) => readFileSync(join(path(out), 'adapter_model.safetensors'));

test('before the first step, every N and after the last, as sample answers with that adapter; training is the same', {
  skip,
}, async () => {
  const { code, stderr } = await train('straight', '--sample-prompts', asked, '--sample-every', '3');
  assert.equal(code, 0, stderr);
  const rows = readRows(samples('straight'));
  const ids = prompts.map(({ id }) => id);
  assert.deepEqual(
    rows.map(({ step, id }) => [step, id]),
    [0, 3, 4].flatMap((step) => ids.map((id) => [step, id])),
  );
  assert.deepEqual(Object.keys(rows[0]!), ['step', 'id', 'prompt', 'response', 'image']);
  assert.equal(rows[0]!.image, (prompts[0]!.images as string[])[0]);
  assert.equal(rows[2]!.prompt, 'Say hello.');
  assert.ok(!('image' in rows[2]!));
  const answersOf = async (...flags: string[]) => {
    const out = await runCli(['sample', '--model', demoModel, '-q', asked, ...flags]);
    return readRows(out.stdout).map(({ responses }) => (responses as { text: string }[])[0]!.text);
  };
  const [first, last] = [await answersOf(), await answersOf('--adapter', path('straight'))];
  assert.deepEqual(
    rows.map(({ response }) => response).filter((_, index) => index < 3 || index > 5),
    [...first, ...last],
  );
  assert.notDeepEqual(last, first, 'four large steps change an answer');
  assert.equal((await train('unwatched')).code, 0);
  assert.deepEqual(adapter('unwatched'), adapter('straight'));
});

test('resumed from any state of the file: the same rows, none twice', { skip }, async () => {
  const flags = ['--sample-prompts', asked, '--sample-every', '1', '--save-every', '2', '--keep-checkpoints', '9'];
  assert.equal((await train('whole', ...flags)).code, 0);
  const want = samples('whole');
  const lines = want.match(/.*\n/g)!;
  // Killed after the checkpoint of step 2: before its answers, in their midst, in a later row, or with all of them.
  for (const [name, text] of [
    ['before', lines.slice(0, 6).join('')],
    ['midst', lines.slice(0, 8).join('') + lines[8]!.slice(0, 9)],
    ['later', lines.slice(0, 9).join('') + lines[9]!.slice(0, -1)],
    ['all', want],
  ] as const) {
    cpSync(path('whole'), path(name), { recursive: true });
    rmSync(join(path(name), 'checkpoint-000004'), { recursive: true });
    writeFileSync(join(path(name), 'samples.ndjson'), text);
    const resumed = await train(name, ...flags, '--resume');
    assert.equal(resumed.code, 0, resumed.stderr);
    assert.equal(samples(name), want, name);
  }
  // A run that has ended changes nothing; one without a checkpoint begins with an empty file.
  assert.equal((await train('all', ...flags, '--resume')).code, 0);
  assert.equal(samples('all'), want);
  cpSync(path('whole'), path('fresh'), { recursive: true });
  for (const step of ['2', '4']) rmSync(join(path('fresh'), `checkpoint-00000${step}`), { recursive: true });
  appendFileSync(join(path('fresh'), 'samples.ndjson'), '{"step":0}\n');
  assert.equal((await train('fresh', ...flags)).code, 0);
  assert.equal(samples('fresh'), want);
  const other = await train('all', ...flags.with(3, '2'), '--resume');
  assert.equal(other.code, 2);
  assert.match(other.stderr, /--sample-every: 1 there, 2 here/);
});

test('refused: steps without prompts, no prompts, a prompt that cannot be', { skip }, async () => {
  const cases: [string[], RegExp][] = [
    [['--sample-every', '2'], /--sample-every: expected --sample-prompts FILE with it/],
    [['--sample-prompts', '-'], /--sample-prompts: expected a file, got -/],
    [['--sample-prompts', write('none.ndjson', [])], /--sample-prompts: expected at least one record, got none/],
    [
      [
        '--sample-prompts',
        write('bad.ndjson', [{ id: 'a', images: [], prompt: [{ role: 'assistant', content: 'Hi' }] }]),
      ],
      /bad\.ndjson:1: prompt/,
    ],
  ];
  for (const [flags, message] of cases) {
    const { code, stderr } = await train('refused', ...flags);
    assert.equal(code, 2, stderr);
    assert.match(stderr, message);
  }
});
