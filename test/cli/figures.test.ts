// SPDX-License-Identifier: Apache-2.0
import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  annotateProgress,
  augmentProgress,
  pairProgress,
  sampleProgress,
  scoreProgress,
} from '../../src/cli/figures.ts';
import { type Figures, newCounts } from '../../src/cli/progress.ts';
import type { VprefRecord } from '../../src/records/record.ts';
import { newTally } from '../../src/stages/annotate/tally.ts';

/** Figures after 2 seconds in which two records `from` became records with `out`. */
function partsAfter(figures: Figures, from: object, out: object): string[] {
  const record = { id: 'a', prompt: 'q', ...from } as VprefRecord;
  for (const line of [1, 2])
    figures.see!({ row: { record, source: 'f', line }, records: [{ ...record, ...out } as VprefRecord] });
  return figures.parts!(2);
}

test('sample: tokens of the answers it made, images of the views it answered', () => {
  const old = { text: 'x', num_tokens: 1000, view: 'original' };
  const record = { images: ['i', 'j'], views: [{ name: 'flip', ops: [], seed: 0, images: ['k'] }], responses: [old] };
  const made = ['original', 'original', 'flip'].map((view) => ({ text: 'y', num_tokens: 20, view }));
  assert.deepEqual(partsAfter(sampleProgress(), record, { responses: [old, ...made] }), [
    '60 tokens/s',
    '3.0 images/s',
  ]);
});

test('score: all texts; augment: images of the views it added', () => {
  const record = { chosen: 'a', rejected: ['b', 'c'], responses: [{ text: 'd' }], choices: ['e'] };
  assert.deepEqual(partsAfter(scoreProgress(), record, {}), ['5.0 texts/s']);
  const views = [{ name: 'f', ops: [], seed: 0 }];
  assert.deepEqual(partsAfter(augmentProgress(), { images: ['i', 'j'] }, { views }), ['2.0 images/s']);
});

test('pair: kept; annotate: outcomes, cost, cache', () => {
  assert.deepEqual(pairProgress({ ...newCounts(), written: 3 }).parts!(1), ['3 kept']);
  const tally = newTally(true);
  Object.assign(tally, { outcomes: { ok: 5, refused: 1, timeout: 2 }, cost: 0.127, cached: 4 });
  assert.deepEqual(annotateProgress(tally).parts!(1), ['5 ok', '3 not ok', '0.13 USD', '4 cached']);
  assert.deepEqual(annotateProgress(newTally(false)).parts!(1), ['0 ok', '0 cached']);
});
