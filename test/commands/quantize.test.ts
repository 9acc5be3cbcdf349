// SPDX-License-Identifier: Apache-2.0
// --quantize through the real binary: what is recorded, what is refused, and that training on a packed base starts at its own reference.
// Covers src/stages/train/reference.ts src/cli/model-flags.ts
import assert from 'node:assert/strict';
import {
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { demoModel, demoPairs, readRows, toNdjson } from '../support/demo-pairs.ts';
import { withoutEngine as skip } from '../support/native.ts';
import { runCli, temporaryFolder } from '../support/run-cli.ts';

const folder = temporaryFolder('quantize');
const path = (name: string) => join(folder, name);
type Json = Record<string, unknown>;
let runs = 0;
const train = (input: string, ...flags: string[]) =>
  runCli([
    ...['train', input, '--model', demoModel, '--lora-r', '2', '--batch-size', '2', '--max-steps', '1'],
    ...(flags.includes('-o') ? flags : ['-o', path(`run-${runs++}`), ...flags]),
  ]);

test('references of a packed base record it; training accepts them only on that base, and starts at reward 0', {
  skip,
}, async () => {
  writeFileSync(path('pairs.ndjson'), toNdjson(demoPairs(2)));
  const reference = async (quantize: string) => {
    const { stdout, code, stderr } = await runCli([
      ...['precompute-ref', path('pairs.ndjson'), '--model', demoModel, '--quantize', quantize],
    ]);
    assert.equal(code, 0, stderr);
    const rows = readRows(stdout);
    writeFileSync(path(`${quantize}.ndjson`), toNdjson(rows as Json[]));
    return rows as { ref: Json; ref_chosen_logps: number }[];
  };
  const [full, nf4, int8] = [await reference('none'), await reference('nf4'), await reference('int8')];
  assert.equal(full[0]!.ref.quantize, undefined);
  assert.equal(nf4[0]!.ref.quantize, 'nf4');
  assert.equal(int8[0]!.ref.quantize, 'int8');
  const off = (rows: typeof full) => Math.abs(rows[0]!.ref_chosen_logps - full[0]!.ref_chosen_logps);
  assert.ok(off(int8) > 0 && off(int8) < off(nf4), `${off(int8)} ${off(nf4)}`);

  const wrong = await train(path('nf4.ndjson'));
  assert.equal(wrong.code, 2, wrong.stderr);
  assert.match(wrong.stderr, /nf4\.ndjson:1: ref\.quantize: expected none \(--quantize; .*got nf4/);
  const other = await train(path('none.ndjson'), '--quantize', 'nf4');
  assert.equal(other.code, 2, other.stderr);
  assert.match(other.stderr, /none\.ndjson:1: ref\.quantize: expected nf4 .*got none/);

  const right = await train(path('nf4.ndjson'), '--quantize', 'nf4');
  assert.equal(right.code, 0, right.stderr);
  const [row] = readRows(right.stdout) as Json[];
  assert.ok(Math.abs(row!['rewards/chosen'] as number) < 1e-4, right.stdout);
});

test('sampling records the quantization, and a packed checkpoint is not packed again', { skip }, async () => {
  const input = `${JSON.stringify({ id: 'a', prompt: 'What is it?' })}\n`;
  const sample = (model: string, ...flags: string[]) =>
    runCli(['sample', '--model', model, '--max-new-tokens', '4', ...flags], { input });
  const { stdout, code, stderr } = await sample(demoModel, '--quantize', 'int8');
  assert.equal(code, 0, stderr);
  assert.equal((readRows(stdout)[0] as { sampling: Json }).sampling.quantize, 'int8');
  const packed = await sample('fixtures/tiny-nf4');
  assert.equal(packed.code, 0, packed.stderr);
  const again = await sample('fixtures/tiny-nf4', '--quantize', 'nf4');
  assert.equal(again.code, 1, again.stderr);
  assert.match(again.stderr, /is packed already, as nf4: expected a full checkpoint/);
});

test('packed weights are stored in --quantize-cache, and a second start reads them', { skip }, async () => {
  const input = `${JSON.stringify({ id: 'a', prompt: 'What is it?' })}\n`;
  const cache = path('cache');
  const sample = (...flags: string[]) =>
    runCli(['sample', '--model', demoModel, '--max-new-tokens', '4', ...flags], { input });
  const plain = await sample('--quantize', 'nf4');
  const first = await sample('--quantize', 'nf4', '--quantize-cache', cache);
  assert.equal(first.code, 0, first.stderr);
  const [file, ...others] = readdirSync(cache);
  assert.match(file!, /^[0-9a-f]{64}\.nf4\.safetensors$/);
  assert.deepEqual(others, []);
  assert.match(first.stderr, /\.nf4\.safetensors: packed weights are written to it/);
  const second = await sample('--quantize', 'nf4', '--quantize-cache', cache);
  assert.match(second.stderr, /\.nf4\.safetensors: packed weights are read from it/);
  assert.deepEqual([first.stdout, second.stdout], [plain.stdout, plain.stdout]);
  truncateSync(join(cache, file!), 100_000);
  const torn = await sample('--quantize', 'nf4', '--quantize-cache', cache);
  assert.match(torn.stderr, /not used, and written again: /);
  assert.equal(torn.stdout, plain.stdout);
  const alone = await sample('--quantize-cache', cache);
  assert.equal(alone.code, 2, alone.stderr);
  assert.match(alone.stderr, /--quantize-cache: expected --quantize nf4 or int8 beside it/);
  rmSync(join(cache, file!));
  mkdirSync(join(cache, file!));
  const taken = await sample('--quantize', 'nf4', '--quantize-cache', cache);
  assert.equal(taken.code, 1, taken.stderr);
  assert.match(
    taken.stderr,
    /^vpref sample: .*\.nf4\.safetensors: packed weights cannot be written to it: Is a directory/m,
  );
  rmdirSync(join(cache, file!));
  writeFileSync(join(cache, file!), '');
  const noFolder = await sample('--quantize', 'nf4', '--quantize-cache', join(cache, file!));
  assert.equal(noFolder.code, 1, noFolder.stderr);
  assert.match(noFolder.stderr, /--quantize-cache .*EEXIST/);
});

test('a base that cannot be packed stops the run, whatever --on-error says', { skip }, async () => {
  const model = path('not-finite');
  cpSync('fixtures/tiny-text', model, { recursive: true });
  const weights = join(model, 'model.safetensors');
  const bytes = readFileSync(weights);
  const begin = 8 + Number(bytes.readBigUInt64LE(0));
  const { 'model.layers.0.mlp.up_proj.weight': tensor } = JSON.parse(bytes.toString('utf8', 8, begin));
  bytes.writeUInt32LE(0x7fc00000, begin + tensor.data_offsets[0]);
  writeFileSync(weights, bytes);
  const input = ['a', 'b', 'c'].map((id) => `${JSON.stringify({ id, prompt: 'What is it?' })}\n`).join('');
  for (const onError of ['fail', 'skip', 'keep']) {
    const out = path(`${onError}.ndjson`);
    const flags = ['--max-new-tokens', '2', '--quantize', 'nf4', '--on-error', onError];
    const { code, stderr } = await runCli(['sample', '--model', model, ...flags, '-o', out], { input });
    assert.equal(code, 1, stderr);
    assert.match(
      stderr,
      /^vpref sample: \S*not-finite\S*: model\.layers\.0\.mlp\.up_proj\.weight: expected finite values/m,
    );
    assert.equal(stderr.match(/expected finite values/g)?.length, 1, stderr);
    assert.ok(!existsSync(out) || readFileSync(out, 'utf8') === '', onError);
  }
});

test('--resume on another form is refused before the reference is computed, and keeps that of the run', {
  skip,
}, async () => {
  writeFileSync(path('plain.ndjson'), toNdjson(demoPairs(2)));
  const out = ['-o', path('resumed')];
  const first = await train(path('plain.ndjson'), ...out);
  assert.equal(first.code, 0, first.stderr);
  const reference = readFileSync(path('resumed/reference.ndjson'), 'utf8');
  const other = await train(path('plain.ndjson'), ...out, '--resume', '--quantize', 'nf4');
  assert.equal(other.code, 2, other.stderr);
  assert.match(other.stderr, /--quantize: none there, nf4 here/);
  assert.doesNotMatch(other.stderr, /computing/);
  assert.equal(readFileSync(path('resumed/reference.ndjson'), 'utf8'), reference);
});

test('a configuration that says 4 bits over weights that are not packed is noted', { skip }, async () => {
  cpSync('fixtures/tiny-text', path('dense'), { recursive: true });
  const config = JSON.parse(readFileSync(path('dense/config.json'), 'utf8'));
  const said = { quant_method: 'bitsandbytes', load_in_4bit: true };
  writeFileSync(path('dense/config.json'), JSON.stringify({ ...config, quantization_config: said }));
  const { code, stderr } = await runCli(['sample', '--model', path('dense'), '--max-new-tokens', '2'], {
    input: `${JSON.stringify({ id: 'a', prompt: 'the' })}\n`,
  });
  assert.equal(code, 0, stderr);
  assert.match(stderr, /dense\/config\.json: quantization_config: no weight is packed: weights are used as stored/);
});

test('a judge that is not our own engine is not packed', async () => {
  const { code, stderr } = await runCli(['annotate', '--judge', 'openai:m', '--quantize', 'nf4'], { input: '' });
  assert.equal(code, 2, stderr);
  assert.match(stderr, /--quantize: expected --judge local:DIR/);
});
