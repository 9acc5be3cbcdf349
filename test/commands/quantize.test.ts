// SPDX-License-Identifier: Apache-2.0
// --quantize through the real binary: what is recorded, what is refused, and that training on a packed base starts at its own reference.
// Covers src/stages/train/reference.ts src/cli/model-flags.ts
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
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
    ...['-o', path(`run-${runs++}`), ...flags],
  ]);

test('references of a packed base say so; training takes them on that base alone, and starts at reward 0', {
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

test('sampling says what drew it, and a checkpoint that is packed is not packed again', { skip }, async () => {
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

test('a judge that is not our own engine is not packed', async () => {
  const { code, stderr } = await runCli(['annotate', '--judge', 'openai:m', '--quantize', 'nf4'], { input: '' });
  assert.equal(code, 2, stderr);
  assert.match(stderr, /--quantize: expected --judge local:DIR/);
});
