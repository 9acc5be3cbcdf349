// SPDX-License-Identifier: Apache-2.0
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { GateInput } from '../../../src/stages/eval/gate.ts';
import { besidePublished, formatPublishedTable } from '../../../src/stages/eval/published.ts';

const beside = (...rows: GateInput[]) =>
  besidePublished(rows.map((value, index) => ({ value, at: { source: 'rows', line: index + 1 } })));
const row = (benchmark: string, params: unknown, more: object = {}): GateInput => ({
  ...{ benchmark, split: 'all', n: 10, score: 40, params },
  ...more,
});

test('the paper has the same parameters, the seed aside: table, score, ours minus theirs', () => {
  const found = (benchmark: string, params: object, more: object = {}) =>
    beside(row(benchmark, params, more)).rows[0]!.published?.map(({ source, score }) => [source, score]);
  assert.deepEqual(found('mmvet', { 'lora-r': 64, seed: 3 }), [['SeVa table 6', 32.8]]);
  assert.deepEqual(found('mmvet', { 'lora-r': '64' }), [['SeVa table 6', 32.8]], 'a text that reads as a number');
  assert.deepEqual(found('mmvet', { step: 800 }, { split: 'spat' }), [['SeVa table 1', 34.3]]);
  assert.deepEqual(found('mmvet', { step: 500 }), [['SeVa README', 35.5]]);
  assert.deepEqual(found('pope', { augmentation: 'moco' }, { split: 'adversarial' }), [['SeVa table 1', 83.7]]);
  assert.deepEqual(found('mmvet', { source: 'vg', size: 4000 }), [['SeVa table 4', 32]]);
  assert.deepEqual(found('mt-bench', { method: 'rs' }), [['Li et al. main table', 6.22]]);
  assert.deepEqual(found('alpaca-eval', { share: 100 }), [['Li et al. main table', 86.4]]);
  assert.deepEqual(found('gqa', { method: 'seva' }), [['SeVa table 2', 60.7]]);
  const [continued] = beside(row('mmbench', { method: 'continued', source: 'all', size: 66000 })).rows;
  assert.deepEqual(continued!.published, [
    { method: 'SFT 10 %, 66k', source: 'SeVa table 3', score: 64.9, difference: 40 - 64.9, hours: 1.2 },
  ]);
});

test('a score over some of the printed splits is not compared with one over all', () => {
  const params = { augmentation: 'moco' };
  const of = (...splits: string[]) => beside(...splits.map((split) => row('pope', params, { split })));
  const part = of('adversarial', 'all');
  assert.deepEqual(
    part.rows.map(({ published }) => published?.length),
    [1, undefined],
  );
  assert.deepEqual(part.notes, ['pope: rows over all splits lack random, popular: not compared']);
  const whole = of('random', 'popular', 'adversarial', 'all');
  assert.equal(whole.rows[3]!.published!.length, 1);
  assert.deepEqual(whole.notes, []);
});

test('other parameters, more of them, or fewer are no match', () => {
  for (const params of [
    { 'lora-r': 65 },
    { 'lora-r': '' },
    { 'lora-r': 64, beta: 0.5 },
    { source: 'gqa' },
    { seed: 0 },
    { rank: 64 },
  ])
    assert.equal(beside(row('mmvet', params)).rows[0]!.published, undefined, JSON.stringify(params));
});

test('an earlier `published` is replaced; other members stay; an undefined score has no difference', () => {
  const [first] = beside(row('mmvet', { 'lora-r': 64 }, { score: null, cell: 'x', published: [] })).rows;
  assert.equal(first!.cell, 'x');
  assert.equal(first!.published![0]!.difference, null);
});

test('what is only drawn is named; rows without parameters are a baseline, rows with odd ones an error', () => {
  assert.deepEqual(beside(row('mmvet', { step: 300 }), row('mt-bench', { flip: 0.5 })).notes, [
    'mmvet: SeVa figure 7 (b) (MM-Vet by noise step) has no printed numbers',
    'mt-bench: Li et al. label noise (MT-Bench by share of swapped pairs) has no printed numbers',
  ]);
  assert.deepEqual(beside(row('mmvet', { beta: 0.5 })).notes, []);
  assert.throws(() => beside(row('mmvet', undefined)), /expected rows with `params`/);
  assert.throws(() => beside(row('mmvet', [1])), /params: expected an object, got/);
  assert.throws(() => beside(row('mmvet', { step: { a: 1 } })), /params\.step: expected a number, a text or a boolean/);
});

test('the table: split all and what is in print, a line a run', () => {
  const lines = formatPublishedTable(
    beside(
      row('pope', { step: '800', seed: '0' }, { ci95: [38, 42.5], train_seconds: 360 }),
      ...['random', 'popular', 'adversarial'].map((split) => row('pope', { step: '800', seed: '0' }, { split })),
      row('pope', { step: '300', seed: '0' }),
      ...['random', 'popular', 'adversarial'].map((split) => row('pope', { step: '300', seed: '0' }, { split })),
      row('pope', undefined, { score: 39 }),
    ),
  );
  assert.deepEqual(lines, [
    'pope',
    'run               split         n  score  95 % interval  training  published  difference  method                     source',
    'step 800, seed 0  all          10     40     38 - 42.50     360 s      86.70      -46.70  SeVa-7B, diffusion (weak)  SeVa table 1',
    'step 800, seed 0  random       10     40                               89.40      -49.40  SeVa-7B, diffusion (weak)  SeVa table 1',
    'step 800, seed 0  popular      10     40                               87.10      -47.10  SeVa-7B, diffusion (weak)  SeVa table 1',
    'step 800, seed 0  adversarial  10     40                               83.60      -43.60  SeVa-7B, diffusion (weak)  SeVa table 1',
    'step 300, seed 0  all          10     40',
    'before            all          10     39',
    '',
    '3 rows of other splits are not shown',
  ]);
  const timed = formatPublishedTable(beside(row('mmbench', { size: 16000 })));
  assert.match(timed[1]!, /published {2}difference {2}their training {2}method/);
  assert.match(timed[2]!, / 65\.60 +-25\.60 +0\.7 h {2}SeVa-7B, 16k +SeVa table 3$/);
});
