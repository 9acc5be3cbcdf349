// SPDX-License-Identifier: Apache-2.0
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ReportCollector } from '../../../src/stages/report/collect.ts';

type Rows = Record<string, Record<string, unknown>[]>;

function tableOf(files: Rows) {
  const collector = new ReportCollector({ maxPairs: 10 });
  for (const [run, rows] of Object.entries(files)) for (const row of rows) assert.ok(collector.add(run, row));
  const { runs } = collector.finish('title').data;
  const cells = (index: number) =>
    Object.fromEntries(
      runs.columns
        .filter(({ values }) => values[index] !== null)
        .map(({ group, title, values }) => [`${group}: ${title}`, values[index]]),
    );
  return { ...runs, cells: Object.fromEntries(runs.names.map((name, index) => [name, cells(index)])) };
}

const summary = (settings: object, more: object = {}) => ({
  ...{ summary: 'train', rows_read: 8, dropped: {}, failed_left_out: 0, failed_kept: 0, failed_before: 0 },
  ...{
    seconds: 12.5,
    ranks: 2,
    steps: 4,
    records_learnt: 32,
    tokens: 900,
    peak_memory_bytes: 5e8,
    stop_reason: 'last-step',
  },
  settings: { command: 'train', args: {}, ...settings },
  ...more,
});

test('settings that differ are columns, the others are listed once; final and best metrics; cost', () => {
  const { names, cells, shared } = tableOf({
    a: [
      { step: 0, 'eval/loss': 0.7, 'eval/best_step': 0 },
      { step: 1, loss: 0.69, 'rewards/accuracies': 0.5 },
      { step: 2, loss: 0.6, 'rewards/accuracies': 0.75, 'rewards/margins': 0.2 },
      { step: 2, 'eval/loss': 0.65, 'eval/best_step': 2, 'eval/seconds': 3 },
      { step: 2, warning: 'length-drift', message: 'balance lengths' },
      { step: 2, stop_reason: 'early-stop', best_step: 2, best_metric: 'eval/loss', best_value: 0.65, kept_step: 2 },
      summary({ lr: 5e-5, beta: 0.1, 'lora-targets': ['q_proj'] }, { gpu_hours: 0.5 }),
    ],
    b: [summary({ lr: 1e-4, beta: 0.1, 'lora-targets': ['q_proj'], loss: 'ipo', 'eval-every': 5 })],
  });
  assert.deepEqual(names, ['a', 'b']);
  assert.deepEqual(shared, [
    ['beta', '0.1'],
    ['lora-targets', '["q_proj"]'],
  ]);
  const cost = {
    'Cost: time': 12.5,
    'Cost: ranks': 2,
    'Cost: records learnt': 32,
    'Cost: tokens': 900,
    'Cost: peak memory': 5e8,
  };
  assert.deepEqual(cells.a, {
    'Settings: lr': 5e-5,
    'Training: steps': 4,
    'Training: ended by': 'early-stop',
    'Training: warnings': 'length-drift',
    'Training: loss, last': 0.6,
    'Training: accuracy, last': 0.75,
    'Training: margin, last': 0.2,
    'Held out: loss, last': 0.65,
    'Held out: loss, best': 0.65,
    'Held out: best step': 2,
    'Held out: kept step': 2,
    ...cost,
    'Cost: GPU-hours': 0.5,
  });
  assert.deepEqual(cells.b, {
    'Settings: lr': 1e-4,
    'Settings: loss': 'ipo',
    'Watching: eval-every': 5,
    'Training: steps': 4,
    'Training: ended by': 'last-step',
    ...cost,
  });
});

test('a run that has not ended: the best evaluation so far, by the metric of its settings', () => {
  const evaluation = (step: number, accuracy: number, best: number) => ({
    ...{ step, 'eval/loss': 1 - step / 10, 'eval/rewards/accuracies': accuracy, 'eval/best_step': best },
  });
  const rows = [evaluation(0, 0.5, 0), evaluation(1, 0.75, 1), evaluation(2, 0.6, 1)];
  assert.equal(tableOf({ a: rows }).cells.a!['Held out: loss, best'], 0.9);
  const { a } = tableOf({ a: [...rows, summary({ 'keep-best': 'eval/rewards/accuracies' })] }).cells;
  assert.equal(a!['Held out: rewards/accuracies, best'], 0.75);
  assert.equal(a!['Held out: best step'], 1);
});

test('rounds side by side: scores and gate belong to the run in the file name, the untrained model comes first', () => {
  const score = (value: number) => ({
    benchmark: 'pope',
    split: 'all',
    n: 9,
    score: value,
    ci95: [value - 1, value + 1],
  });
  const { names, cells } = tableOf({
    'round-1': [{ step: 1, loss: 0.5 }, score(81), { require: 'pope.score >= -1 from best', pass: true, value: 81 }],
    'round-2': [{ step: 1, loss: 0.4 }, score(70), { require: 'pope.score >= -1 from best', pass: false, value: 70 }],
    'round-0': [score(80)],
  });
  assert.deepEqual(names, ['round-0', 'round-1', 'round-2']);
  assert.deepEqual(cells['round-0'], { 'Scores: pope': { value: 80, interval: [79, 81] } });
  assert.equal(cells['round-1']!['Training: gate'], 'passed');
  assert.equal(cells['round-2']!['Training: gate'], 'failed: pope.score >= -1 from best');
  assert.deepEqual(cells['round-2']!['Scores: pope'], { value: 70, interval: [69, 71] });
});

test('parts of a run: NAME.PART of a trained run, and of the same parts of one that was not', () => {
  const rows = [{ benchmark: 'hallucination', split: 'all', score: 20 }];
  const { names, columns } = tableOf({
    seva: [{ step: 1, loss: 0.5 }],
    ...{ 'seva.short': rows, 'seva.long': rows, 'before.short': rows, 'before.long': rows, other: rows },
  });
  assert.deepEqual(names, ['before', 'other', 'seva']);
  assert.deepEqual(
    columns.filter(({ group }) => group === 'Scores').map(({ title }) => title),
    ['hallucination (short)', 'hallucination (long)', 'hallucination'],
  );
});

test('several models or cells in a file are no score of a run; unrelated score files are no table of runs', () => {
  const rows = ['m', 'n'].map((model) => ({ benchmark: 'pope', split: 'all', model, score: 1 }));
  assert.deepEqual(tableOf({ a: rows, b: rows }).names, []);
  assert.deepEqual(tableOf({ pope: [rows[0]!], mmvet: [{ ...rows[0]!, benchmark: 'mmvet' }] }).names, []);
  assert.deepEqual(tableOf({ before: [rows[0]!], after: [rows[0]!] }).names, ['before', 'after']);
});

test('summaries of several runs in one file are several runs', () => {
  assert.deepEqual(tableOf({ all: [summary({ lr: 1 }), summary({ lr: 2 })] }).names, ['all', 'all (2)']);
});
