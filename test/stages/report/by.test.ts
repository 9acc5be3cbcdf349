// SPDX-License-Identifier: Apache-2.0
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { byCharts } from '../../../src/stages/report/by.ts';

const row = (score: number | null, params?: object, more: object = {}) => ({
  ...{ run: 'cells', benchmark: 'pope', split: 'all', score },
  ...(score !== null && { ci95: [score - 1, score + 1] }),
  ...(params && { params }),
  ...more,
});

test('one line through the means of the seeds, each with its interval, from left to right', () => {
  const { charts, notes } = byCharts('step', [
    row(84, { step: 800, seed: 0 }),
    row(80, { step: 500, seed: 0 }),
    row(82, { step: 500, seed: 1 }),
  ]);
  assert.deepEqual(notes, []);
  assert.deepEqual(charts[0]!.lines, [
    {
      name: 'score',
      points: [
        {
          ...{ x: 500, mean: 81 },
          scores: [
            { score: 80, interval: [79, 81] },
            { score: 82, interval: [81, 83] },
          ],
        },
        { x: 800, mean: 84, scores: [{ score: 84, interval: [83, 85] }] },
      ],
    },
  ]);
});

test('other parameters and models give separate lines; common ones are listed once; files without params are baselines', () => {
  const { charts } = byCharts('step', [
    row(70),
    row(1, { step: 1, pairs: 10, lr: 1e-5 }, { model: 'm' }),
    row(2, { step: 1, pairs: 20, lr: 1e-5 }, { model: 'm' }),
    row(3, { step: 1, pairs: 20, lr: 1e-5 }, { model: 'n' }),
    row(4, { step: 1, pairs: 20, lr: 1e-5 }, { split: 'random' }),
    row(5, { step: 1, pairs: 20, lr: 1e-5 }, { benchmark: 'gqa' }),
  ]);
  assert.deepEqual(
    charts.map(({ benchmark, lines, same, baselines }) => ({
      benchmark,
      lines: lines.map(({ name }) => name),
      same,
      baselines,
    })),
    [
      {
        benchmark: 'pope',
        lines: ['m, pairs 10', 'm, pairs 20', 'n, pairs 20'],
        same: [['lr', '0.00001']],
        baselines: [{ name: 'cells', score: 70, interval: [69, 71] }],
      },
      {
        benchmark: 'gqa',
        lines: ['score'],
        same: [
          ['pairs', '20'],
          ['lr', '0.00001'],
        ],
        baselines: [],
      },
    ],
  );
});

test('the axis: numbers, also as text; decades by their logarithm; words in the order they come', () => {
  const chart = (...values: unknown[]) =>
    byCharts(
      'p',
      values.map((p, k) => row(k, { p })),
    ).charts[0]!;
  const places = ({ lines }: ReturnType<typeof chart>) => lines[0]!.points.map(({ x }) => x);
  assert.deepEqual([places(chart('16000', 2000)), chart('16000', 2000).isLog], [[2000, 16000], false]);
  assert.deepEqual([places(chart(1e-4, 1e-6)), chart(1e-4, 1e-6).isLog], [[1e-6, 1e-4], true]);
  assert.equal(chart(0, 1000).isLog, false);
  const words = chart('flip', 'moco', 8, 'flip');
  assert.deepEqual(
    [words.categories, places(words)],
    [
      ['flip', 'moco', '8'],
      [0, 1, 2],
    ],
  );
});

test('rows that a chart cannot show are counted, a parameter that no row has is an error', () => {
  const rows = [row(1, { step: 1 }), row(null, { step: 2 }), row(2, { lr: 1 })];
  assert.deepEqual(byCharts('step', rows).notes, [
    '--by step: 1 score row has other params and not step: not in its charts',
    '--by step: 1 row has no score: not in its charts',
  ]);
  assert.throws(() => byCharts('size', rows), /--by size: expected score rows with params\.size, got only step, lr/);
  assert.throws(() => byCharts('size', [row(1)]), /got no score row with params/);
  const many = Array.from({ length: 5000 }, (_, k) => row(k, { step: k }));
  const { charts, notes } = byCharts('step', many);
  assert.equal(charts[0]!.lines[0]!.points.length, 2000);
  assert.match(notes[0]!, /3000 rows left out/);
});
