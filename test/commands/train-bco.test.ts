// SPDX-License-Identifier: Apache-2.0
// Covers native/train/losses/reward_mean.h src/stages/train/rows.ts
// BCO through the real binary: the running mean of its rewards, over steps, micro-batches and a stop; the rows that it takes.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { demoModel, demoPairs, readRows, toNdjson } from '../support/demo-pairs.ts';
import { withoutEngine as skip } from '../support/native.ts';
import { runCli, spawnCli } from '../support/run-cli.ts';

const folder = mkdtempSync(join(tmpdir(), 'vpref-train-bco-'));
after(() => rmSync(folder, { recursive: true, force: true }));
const path = (name: string) => join(folder, name);
const write = (name: string, rows: readonly object[]) => {
  writeFileSync(path(name), toNdjson(rows));
  return path(name);
};

const all = demoPairs(18);
const pairs = write('pairs.ndjson', all.slice(0, 12));
const heldOut = write('held-out.ndjson', all.slice(12));
const answers = all.slice(0, 12).map(({ chosen, rejected, ...record }, index) => ({
  ...record,
  response: index % 3 === 0 ? rejected : chosen,
  label: index % 3 !== 0,
}));
write('answers.ndjson', answers);
const settings = ['--model', demoModel, '--lora-r', '8', '--lr', '2e-3', '--batch-size', '4', '--epochs', '2'];
const train = async (input: string, out: string, ...flags: string[]) => {
  const result = await runCli([
    'train',
    input,
    ...settings,
    ...(flags.includes('--loss') ? [] : ['--loss', 'bco']),
    '-o',
    path(out),
    ...flags,
  ]);
  return { ...result, rows: readRows(result.stdout) };
};
const untimed = (row: Record<string, unknown>) =>
  Object.fromEntries(Object.entries(row).filter(([name]) => !/seconds|per_second|bytes/.test(name)));
const adapter = (out: string) => readFileSync(join(path(out), 'adapter_model.safetensors'));
const numbers = (rows: Record<string, unknown>[], name: string) => rows.map((row) => row[name] as number);

test('delta is the mean of the rewards of all steps so far, and held-out records are measured from it', {
  skip,
}, async () => {
  const { code, stderr, rows } = await train(pairs, 'straight', '--eval', heldOut, '--eval-every', '3');
  assert.equal(code, 0, stderr);
  const steps = rows.filter((row) => 'delta' in row);
  assert.equal(steps.length, 6);
  assert.ok(Math.abs(steps[0]!.delta as number) < 1e-6);
  assert.ok(Math.abs((steps[0]!.loss as number) - 2 * Math.LN2) < 1e-5, 'two terms of log 2 at the reference');
  const [chosen, rejected] = [numbers(steps, 'rewards/chosen'), numbers(steps, 'rewards/rejected')];
  let sum = 0;
  for (const [index, row] of steps.entries()) {
    sum += (chosen[index]! + rejected[index]!) / 2;
    assert.ok(Math.abs((row.delta as number) - sum / (index + 1)) < 1e-6, `step ${row.step}: ${row.delta}`);
  }
  assert.ok(Math.abs(steps.at(-1)!.delta as number) > 1e-3, 'the mean has left 0');
  const evals = rows.filter((row) => 'eval/loss' in row);
  assert.ok(Math.abs((evals[0]!['eval/loss'] as number) - 2 * Math.LN2) < 1e-9);
  assert.ok(evals.every((row) => !('delta' in row)));
});

test('micro-batches of one record have the mean of the whole step', { skip }, async () => {
  const { code, rows } = await train(pairs, 'micro', '--batch-tokens', '1');
  assert.equal(code, 0);
  const whole = await train(pairs, 'whole');
  for (const [index, value] of numbers(whole.rows, 'delta').entries())
    assert.ok(Math.abs(numbers(rows, 'delta')[index]! - value) < 1e-5);
});

test('killed and resumed: the same mean, the same bytes', { skip }, async () => {
  const flags = ['--save-every', '1', '--eval', heldOut, '--eval-every', '3'];
  const straight = await train(pairs, 'unbroken', ...flags);
  const child = spawnCli(['train', pairs, ...settings, '--loss', 'bco', '-o', path('killed'), ...flags]);
  child.stdin!.end();
  let out = '';
  child.stdout!.on('data', (chunk) => {
    out += chunk;
    if (out.split('\n').length > 4) child.kill('SIGKILL');
  });
  await once(child, 'close');
  const resumed = await train(pairs, 'killed', ...flags, '--resume');
  assert.equal(resumed.code, 0, resumed.stderr);
  assert.ok(resumed.rows.length > 0 && resumed.rows.length < straight.rows.length);
  assert.deepEqual(resumed.rows.map(untimed), straight.rows.slice(-resumed.rows.length).map(untimed));
  assert.deepEqual(adapter('killed'), adapter('unbroken'));
});

test('answers with a label, pairs among them; what is neither or both is refused', { skip }, async () => {
  const single = await train(write('answers.ndjson', answers), 'answers');
  assert.equal(single.code, 0, single.stderr);
  assert.ok(Math.abs((single.rows[0]!.loss as number) - Math.LN2) < 1e-5, 'one term of log 2 at the reference');
  assert.ok(!('rewards/margins' in single.rows[0]!));
  const mixed = await train(write('mixed.ndjson', [...all.slice(0, 6), ...answers.slice(6)]), 'mixed');
  assert.equal(mixed.code, 0, mixed.stderr);
  for (const row of mixed.rows.filter((one) => 'loss' in one))
    for (const [name, value] of Object.entries(row)) assert.ok(Number.isFinite(value), `${name}: ${value}`);
  const { label: _, ...unlabelled } = answers[0]!;
  const neither = await train(write('neither.ndjson', [unlabelled]), 'neither');
  assert.equal(neither.code, 2);
  assert.match(
    neither.stderr,
    /neither\.ndjson:1: label: expected true or false, or a rejected answer .*, got neither/,
  );
  const both = await train(write('both.ndjson', [{ ...all[0], ...answers[0] }]), 'both');
  assert.equal(both.code, 2);
  assert.match(both.stderr, /both\.ndjson:1: rejected: expected a pair, or a response with a label, got both/);
  const sum = await train(path('answers.ndjson'), 'sum', '--loss', 'sigmoid:0.8,bco:0.2,sft:1');
  assert.equal(sum.code, 2);
  assert.match(sum.stderr, /answers\.ndjson:1: chosen: expected a string|rejected: expected a string/);
  const best = await train(pairs, 'best', '--eval', path('answers.ndjson'), '--keep-best', 'eval/rewards/margins');
  assert.equal(best.code, 2);
  assert.match(best.stderr, /--keep-best eval\/rewards\/margins: the held-out records have no rejected answers/);
});

test('undesirable answers that a loss learns all the same are counted', { skip }, async () => {
  for (const [out, count, ...flags] of [
    ['counted-sum', 4, '--loss', 'kto:1,sft:0.1'],
    ['counted-alone', 4, '--method', 'sft', '--loss', 'sft'],
    ['counted-none', 0, '--loss', 'kto'],
  ] as const) {
    const { code, stderr } = await train(path('answers.ndjson'), out, '--max-steps', '1', ...flags);
    assert.equal(code, 0, stderr);
    const warning = /(\d+) records have label false, of 12: sft does not read labels/.exec(stderr);
    assert.equal(Number(warning?.[1] ?? 0), count, stderr);
  }
});
