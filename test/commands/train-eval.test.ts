// SPDX-License-Identifier: Apache-2.0
// Covers src/stages/train/evaluate.ts src/stages/train/held-out.ts src/stages/train/row-weight.ts src/engine/trainer.ts
// Held-out records while training, and records that weigh more, through the real binary on the demo model.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { assertSameAdapter, demoModel, demoPairs, readRows, toNdjson } from '../support/demo-pairs.ts';
import { withoutEngine as skip } from '../support/native.ts';
import { runCli, spawnCli } from '../support/run-cli.ts';

const folder = mkdtempSync(join(tmpdir(), 'vpref-train-eval-'));
after(() => rmSync(folder, { recursive: true, force: true }));
const path = (name: string) => join(folder, name);
const write = (name: string, rows: readonly object[]) => {
  writeFileSync(path(name), toNdjson(rows));
  return path(name);
};

const all = demoPairs(20);
const pairs = all.slice(0, 12);
const [trained, heldOut] = [path('pairs.ndjson'), path('held-out.ndjson')];
const defaults = { '--model': demoModel, '--lora-r': '8', '--lr': '1e-3', '--batch-size': '4' };
/** The defaults that the flags do not give. */
const settings = (flags: readonly string[]) =>
  Object.entries(defaults).flatMap((pair) => (flags.includes(pair[0]) ? [] : pair));
const train = async (input: string, out: string, ...flags: string[]) => {
  const result = await runCli(['train', input, ...settings(flags), '-o', path(out), ...flags]);
  const rows = readRows(result.stdout);
  return { ...result, rows, evals: rows.filter((row) => 'eval/loss' in row), last: rows.at(-1)! };
};
const adapter = (...out: string[]) => readFileSync(join(folder, ...out, 'adapter_model.safetensors'));
const without = (row: Record<string, unknown>) =>
  Object.fromEntries(Object.entries(row).filter(([name]) => !/seconds|per_second|bytes/.test(name)));

before(() => {
  write('pairs.ndjson', pairs);
  write('held-out.ndjson', all.slice(12));
});

test('the figures of held-out records are those of score and eval rewards on that adapter', { skip }, async () => {
  const { code, stderr, evals } = await train(trained, 'watched', '--eval', heldOut, '--eval-every', '2');
  assert.equal(code, 0, stderr);
  assert.deepEqual(
    evals.map(({ step }) => step),
    [0, 2, 3],
  );
  assert.equal(evals[0]!['eval/rewards/margins'], 0);
  assert.ok(Math.abs((evals[0]!['eval/loss'] as number) - Math.LN2) < 1e-12);
  const scored = path('scored.ndjson');
  const steps = [
    ['precompute-ref', '--model', demoModel, '-q', heldOut, '-o', path('held-out.ref.ndjson')],
    ['score', '--model', demoModel, '--adapter', path('watched'), '-q', path('held-out.ref.ndjson'), '-o', scored],
  ];
  for (const args of steps) assert.equal((await runCli(args)).code, 0);
  const rewards = readRows((await runCli(['eval', 'rewards', scored])).stdout).find(({ split }) => split === 'all')!;
  for (const name of [
    'loss',
    'rewards/accuracies',
    'rewards/margins',
    'rewards/chosen',
    'rewards/rejected',
    'logps/chosen',
    'logps/rejected',
  ]) {
    const [got, want] = [evals.at(-1)![`eval/${name}`] as number, rewards[name] as number];
    assert.ok(Math.abs(got - want) < 1e-4, `${name}: ${got}, eval rewards says ${want}`);
  }
});

test('watching changes nothing: without --keep-best the directory holds the last state, to the byte', {
  skip,
}, async () => {
  await train(trained, 'unwatched');
  assert.deepEqual(adapter('watched'), adapter('unwatched'));
  assert.ok(!readdirSync(path('watched')).some((name) => name.startsWith('best-')));
});

const overfitting = ['--epochs', '20', '--lr', '1e-2', '--lr-schedule', 'constant', '--eval-every', '3'];

test('a run that overfits ends early, in its best state; the last is in its checkpoint', { skip }, async () => {
  const { code, stderr, evals, last } = await train(
    trained,
    'early',
    '--eval',
    heldOut,
    ...overfitting,
    '--early-stop',
    '2',
  );
  assert.equal(code, 0, stderr);
  const losses = evals.map((row) => row['eval/loss'] as number);
  const best = losses.indexOf(Math.min(...losses));
  assert.equal(evals.length, best + 3);
  assert.deepEqual(without(last), {
    step: evals.at(-1)!.step,
    stop_reason: 'early-stop',
    best_step: evals[best]!.step,
    best_metric: 'eval/loss',
    best_value: losses[best],
    kept_step: evals[best]!.step,
  });
  assert.match(stderr, new RegExp(`stopped early after step ${last.step}; best by eval/loss: step ${last.best_step} `));
  const name = (kind: string, step: unknown) => `${kind}-${String(step).padStart(6, '0')}`;
  assert.deepEqual(adapter('early'), adapter('early', name('best', last.best_step)));
  assert.notDeepEqual(adapter('early'), adapter('early', name('checkpoint', last.step)));
  // The best state is the one that a run of that many steps ends in.
  const flags = [
    '--max-steps',
    String(last.best_step),
    '--lr',
    '1e-2',
    '--lr-schedule',
    'constant',
    '--warmup-steps',
    '2',
  ];
  await train(trained, 'short', ...flags);
  assertSameAdapter(path('short'), path('early'));
  const again = await train(trained, 'early', '--eval', heldOut, ...overfitting, '--early-stop', '2', '--resume');
  assert.deepEqual(again.rows, [last], 'a run that has ended early does not go on');
});

test('stopped and resumed: the same evaluations, the same best, the same bytes', { skip }, async () => {
  const flags = ['--eval', heldOut, ...overfitting, '--early-stop', '2', '--save-every', '2'];
  const straight = await train(trained, 'straight', ...flags);
  const child = spawnCli(['train', trained, ...settings(flags), '-o', path('stopped'), ...flags]);
  child.stdin!.end();
  let out = '';
  child.stdout!.on('data', (chunk) => {
    out += chunk;
    if (out.split('\n').length > 5) child.kill('SIGKILL');
  });
  await once(child, 'close');
  assert.ok(!existsSync(join(path('stopped'), 'adapter_model.safetensors')));
  const resumed = await train(trained, 'stopped', ...flags, '--resume');
  assert.equal(resumed.code, 0, resumed.stderr);
  assert.ok(resumed.rows.length < straight.rows.length);
  assert.deepEqual(resumed.rows.map(without), straight.rows.slice(-resumed.rows.length).map(without));
  assert.deepEqual(adapter('stopped'), adapter('straight'));
  const other = await train(trained, 'stopped', ...flags.with(1, trained), '--resume');
  assert.equal(other.code, 2);
  assert.match(other.stderr, /--eval: \w+ there, \w+ here/);
});

test('sft and kto have held-out losses of their own', { skip }, async () => {
  const answers = all.map(({ chosen, rejected, ...record }, index) => ({
    ...record,
    response: index % 3 === 0 ? rejected : chosen,
    label: index % 3 !== 0,
  }));
  const [input, held] = [
    write('answers.ndjson', answers.slice(0, 12)),
    write('held-answers.ndjson', answers.slice(12)),
  ];
  for (const flags of [
    ['--method', 'sft'],
    ['--loss', 'kto'],
  ]) {
    const { code, stderr, evals } = await train(input, flags.at(-1)!, '--eval', held, ...flags);
    assert.equal(code, 0, stderr);
    // The loss of a step over the same rows.
    const { rows } = await train(held, `${flags.at(-1)!}-step`, '--max-steps', '1', '--batch-size', '20', ...flags);
    const [got, want] = [evals[0]!['eval/loss'] as number, rows[0]!.loss as number];
    assert.ok(Math.abs(got - want) < 1e-6, `${got}, a step says ${want}`);
    assert.notEqual(evals.at(-1)!['eval/loss'], got);
    assert.ok(!('eval/rewards/margins' in evals[0]!));
  }
});

test('flags that need held-out records are refused without them; records on both sides give a warning', {
  skip,
}, async () => {
  for (const name of ['eval-every', 'early-stop']) {
    const { code, stderr } = await train(trained, 'refused', `--${name}`, '3');
    assert.equal(code, 2);
    assert.match(stderr, new RegExp(`--${name}: expected --eval FILE with it`));
  }
  const both = await train(trained, 'both', '--eval', trained, '--max-steps', '1');
  assert.match(both.stderr, /--eval: 12 held-out records are also in the training data, of 12/);
  const bad = await train(trained, 'refused', '--eval', write('bad.ndjson', [{ id: '1', prompt: 'x', chosen: 'y' }]));
  assert.equal(bad.code, 2);
  assert.match(bad.stderr, /bad\.ndjson:1: rejected: expected/);
});

const oneStep = ['--max-steps', '2', '--warmup-steps', '0', '--no-shuffle'];

test('weight 1 changes no byte; a record of weight 2 counts as twice that record', { skip }, async () => {
  for (const loss of ['sigmoid', 'sigmoid:1,sft:0.5']) {
    const [a, b, c] = pairs;
    const rows = [a!, b!, c!];
    const run = (name: string, input: object[], batch: number) =>
      train(
        write('weights.ndjson', input),
        `${name}-${loss}`,
        '--loss',
        loss,
        ...oneStep,
        '--batch-size',
        String(batch),
      );
    const plain = await run('plain', rows, 3);
    const ones = await run(
      'ones',
      rows.map((row) => ({ ...row, weight: 1 })),
      3,
    );
    assert.deepEqual(adapter(`ones-${loss}`), adapter(`plain-${loss}`));
    assert.match(ones.stderr, /weight: 3 of 3 records have one/);
    const two = await run('two', [{ ...a, weight: 2 }, b!, { ...c, weight: 0 }], 3);
    const twice = await run('twice', [a!, { ...a, id: 'again' }, b!], 3);
    assert.notDeepEqual(adapter(`two-${loss}`), adapter(`plain-${loss}`));
    for (const [index, row] of two.rows.entries())
      for (const name of ['loss', 'grad_norm']) {
        const [got, want] = [row[name] as number, twice.rows[index]![name] as number];
        assert.ok(Math.abs(got - want) < 1e-5 * (1 + want), `${loss} step ${index} ${name}: ${got}, twice: ${want}`);
      }
    assert.ok(plain.rows.length === 2);
  }
});

test("a record's beta is used instead of --beta; other kinds of weight and beta are counted and not used", {
  skip,
}, async () => {
  const flagged = await train(trained, 'flagged', ...oneStep, '--beta', '0.4');
  const own = await train(
    write(
      'betas.ndjson',
      pairs.map((row) => ({ ...row, beta: 0.4 })),
    ),
    'own',
    ...oneStep,
  );
  assert.deepEqual(adapter('own'), adapter('flagged'));
  assert.equal(own.rows[1]!['rewards/margins'], flagged.rows[1]!['rewards/margins']);
  assert.match(own.stderr, /beta: 12 of 12 records have one, used instead of --beta/);
  const texts = pairs.map((row) => ({ ...row, weight: 'heavy', beta: { old: 1 } }));
  const unused = await train(write('texts.ndjson', texts), 'texts', ...oneStep);
  assert.equal(unused.code, 0, unused.stderr);
  assert.match(unused.stderr, /weight: 12 of 12 records have one that is not a number: not used/);
  assert.match(unused.stderr, /beta: 12 of 12 records have one that is not a number: not used/);
  for (const [field, value, expected] of [
    ['weight', -1, 'a number of at least 0'],
    ['beta', 0, 'a number above 0'],
  ] as const) {
    const bad = await train(write('bad.ndjson', [{ ...pairs[0], [field]: value }]), 'bad');
    assert.equal(bad.code, 2);
    assert.match(bad.stderr, new RegExp(`bad\\.ndjson:1: ${field}: expected ${expected}, got ${value}`));
  }
});

test('the summary has the cost of the run, earlier starts included', { skip }, async () => {
  const summary = path('summary.json');
  const flags = ['--eval', heldOut, '--keep-best', 'eval/loss', '--summary', summary];
  await train(
    trained,
    'summed',
    '--max-steps',
    '3',
    '--save-every',
    '1',
    '--eval',
    heldOut,
    '--keep-best',
    'eval/loss',
  );
  const { code, stderr, last } = await train(
    trained,
    'summed',
    '--max-steps',
    '3',
    '--save-every',
    '1',
    ...flags,
    '--resume',
  );
  assert.equal(code, 0, stderr);
  const {
    settings: kept,
    seconds,
    peak_memory_bytes: peak,
    tokens,
    ...rest
  } = readRows(readFileSync(summary, 'utf8'))[0]!;
  assert.ok((seconds as number) > 0 && (peak as number) > 1e6 && (tokens as number) > 100);
  assert.deepEqual(rest, {
    summary: 'train',
    rows_read: 12,
    dropped: {},
    failed_left_out: 0,
    failed_kept: 0,
    failed_before: 0,
    ranks: 1,
    steps: 3,
    records_learnt: 12,
    ...last,
  });
  assert.equal((kept as { lr: number }).lr, 1e-3);
});
