// SPDX-License-Identifier: Apache-2.0
// export merge of adapters that were trained on packed bases, through the real binary: what it is merged into, and that the merged checkpoint
// says what base and adapter say. Covers src/cli/export-options.ts src/engine/merge.ts src/stages/train/steps.ts
import assert from 'node:assert/strict';
import { cpSync, existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { demoModel, demoPairs, readRows, toNdjson } from '../support/demo-pairs.ts';
import { withoutEngine as skip } from '../support/native.ts';
import { runCli, temporaryFolder } from '../support/run-cli.ts';

const folder = temporaryFolder('merge-quantised');
const path = (name: string) => join(folder, name);

async function run(...args: string[]) {
  const result = await runCli(args);
  assert.equal(result.code, 0, result.stderr);
  return result;
}

/** Log-probabilities of the chosen answers. */
async function logps(file: string, ...flags: string[]): Promise<number[]> {
  const { stdout } = await run('precompute-ref', file, '--dtype', 'f32', ...flags);
  return (readRows(stdout) as { ref_chosen_logps: number }[]).map((row) => row.ref_chosen_logps);
}

/** Trains a few strong steps; the directory of the adapter. */
async function trained(file: string, model: string, ...flags: string[]): Promise<string> {
  const out = path(`run-${model.replaceAll('/', '-')}${flags.join('')}`);
  await run(
    ...['train', file, '--model', model, '--lora-r', '4', '--lr', '0.02', '--batch-size', '2', '--max-steps', '3'],
    ...['-o', out, ...flags],
  );
  return out;
}

function expectClose(got: number[], expected: number[], tolerance: number): void {
  assert.equal(got.length, expected.length);
  for (const [i, value] of got.entries())
    assert.ok(Math.abs(value - expected[i]!) <= tolerance, `${got} against ${expected}`);
}

test('a delta of zero is called so, not compared with', { skip }, async () => {
  const file = path('one.ndjson');
  writeFileSync(file, toNdjson(demoPairs(2)));
  const adapter = path('nothing');
  // A warm-up of one step: its learning rate is 0.
  const flags = ['--lora-r', '4', '--batch-size', '2', '--max-steps', '1', '--warmup-steps', '1', '--quantize', 'nf4'];
  const train = await run('train', file, '--model', demoModel, ...flags, '-o', adapter);
  assert.match(train.stderr, /the only step is a warm-up step, of learning rate 0: nothing is learned/);
  const still = await run('train', file, '--model', demoModel, ...flags, '--lr', '0', '-o', path('still'));
  assert.doesNotMatch(still.stderr, /warm-up/);
  for (const dtype of ['f16', 'f32']) {
    const out = path(`nothing-${dtype}`);
    const { stderr } = await run(
      ...['export', 'merge', '--model', demoModel, '--adapter', adapter, '--dtype', dtype, '-o', out],
    );
    assert.match(stderr, new RegExp(`\\(${dtype}: their delta is zero\\)`));
    assert.match(stderr, /by [\d.]+ % of the norm of the weights; --onto quantised merges into that one/);
    assert.doesNotMatch(stderr, /of the delta|delta's/);
  }
});

test('an adapter of a packed base is merged into the full base, or onto what it was trained on', { skip }, async () => {
  const file = path('pairs.ndjson');
  writeFileSync(file, toNdjson(demoPairs(2)));
  const adapter = await trained(file, demoModel, '--quantize', 'nf4');
  const onFull = await logps(file, '--model', demoModel, '--adapter', adapter);
  const onPacked = await logps(file, '--model', demoModel, '--adapter', adapter, '--quantize', 'nf4');
  assert.ok(Math.abs(onFull[0]! - onPacked[0]!) > 0.01, `${onFull} ${onPacked}`);
  const merge = (out: string, ...flags: string[]) =>
    runCli([
      ...['export', 'merge', '--model', demoModel, '--adapter', adapter, '--dtype', 'f32'],
      ...['-o', path(out), ...flags],
    ]);

  const full = await merge('full');
  assert.equal(full.code, 0, full.stderr);
  const measured = String.raw`by ([\d.]+) % of the norm of the weights, ([\d.]+) times that of the delta`;
  const [, share] =
    new RegExp(`merged into the full base, which differs from the nf4 base .* ${measured}`).exec(full.stderr) ?? [];
  assert.ok(Number(share) > 5 && Number(share) < 12, full.stderr);
  expectClose(await logps(file, '--model', path('full')), onFull, 2e-3);

  const packed = await merge('packed', '--onto', 'quantised');
  assert.equal(packed.code, 0, packed.stderr);
  assert.match(packed.stderr, new RegExp(`merged into the nf4 base .*, unpacked, which differs .* ${measured}`));
  expectClose(await logps(file, '--model', path('packed')), onPacked, 2e-3);
});

test('the 4-bit fixture: trained on, merged into what its codes stand for', { skip }, async () => {
  const file = path('texts.ndjson');
  const pairs = ['red', 'blue'].map((word, i) => ({
    id: `t${i}`,
    prompt: `Say ${word}.`,
    chosen: `It is ${word}.`,
    rejected: 'I do not know.',
  }));
  writeFileSync(file, toNdjson(pairs));
  const nested = path('nested');
  cpSync('fixtures/tiny-nf4', nested, { recursive: true });
  const { quantization_config, ...config } = JSON.parse(readFileSync(join(nested, 'config.json'), 'utf8'));
  config.text_config.quantization_config = quantization_config;
  writeFileSync(join(nested, 'config.json'), JSON.stringify(config));
  for (const model of [nested, 'fixtures/tiny-nf4', 'fixtures/tiny-fp4']) {
    const adapter = await trained(file, model);
    const base = await logps(file, '--model', model);
    const expected = await logps(file, '--model', model, '--adapter', adapter);
    assert.ok(Math.abs(base[0]! - expected[0]!) > 0.05, `${base} ${expected}`);
    const out = path(`merged-${model.replaceAll('/', '-')}`);
    const { stderr } = await run(
      'export',
      'merge',
      '--model',
      model,
      '--adapter',
      adapter,
      '--dtype',
      'f32',
      '-o',
      out,
    );
    assert.match(stderr, /linear layers merged into .*the packed weights of .* are written dequantised/);
    assert.doesNotMatch(readFileSync(join(out, 'config.json'), 'utf8'), /quantization_config/);
    expectClose(await logps(file, '--model', out), expected, 2e-3);
  }
});

test('--onto quantised needs an adapter that records its base', { skip }, async () => {
  const merge = (...flags: string[]) =>
    runCli(['export', 'merge', '--model', demoModel, ...flags, '-o', path('not'), '--onto', 'quantised']);
  const plain = await merge('--adapter', 'fixtures/golden/train/adapter');
  assert.equal(plain.code, 2, plain.stderr);
  assert.match(plain.stderr, /--onto quantised: expected an adapter trained with --quantize, got fixtures/);
  assert.equal(existsSync(path('not')), false);
  const other = await runCli(['export', 'trl', '--onto', 'full'], { input: '' });
  assert.equal(other.code, 2, other.stderr);
  assert.match(other.stderr, /--onto: expected export merge, got format trl/);
});
