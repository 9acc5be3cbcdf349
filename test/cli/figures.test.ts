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
import { newCounts } from '../../src/cli/progress.ts';
import type { Stage } from '../../src/flow/stage.ts';
import type { VprefRecord } from '../../src/records/record.ts';
import { newTally } from '../../src/stages/annotate/tally.ts';

/** Runs a stage that gives `out` for the record `from`. */
async function pass(wrap: (stage: Stage) => { stage: Stage; figures: object }, from: object, out: object) {
  const row = { record: { id: 'a', prompt: 'q', ...from } as VprefRecord, source: 'f', line: 1 };
  const made: Stage = async function* (rows) {
    for await (const row of rows) yield { row, records: [{ ...row.record, ...out } as VprefRecord] };
  };
  const { stage, figures } = wrap(made);
  async function* rows() {
    yield row;
    yield { ...row, line: 2 };
  }
  const results = [];
  for await (const result of stage(rows())) results.push(result);
  assert.equal(results.length, 2);
  return (figures as { parts(seconds: number): string[] }).parts(2);
}

test('sample: tokens of the answers it made, images of the views it answered', async () => {
  const old = { text: 'x', num_tokens: 1000, view: 'original' };
  const record = { images: ['i', 'j'], views: [{ name: 'flip', ops: [], seed: 0, images: ['k'] }], responses: [old] };
  const made = ['original', 'original', 'flip'].map((view) => ({ text: 'y', num_tokens: 20, view }));
  assert.deepEqual(await pass(sampleProgress, record, { responses: [old, ...made] }), ['60 tokens/s', '3.0 images/s']);
});

test('score: all texts; augment: images of the views it added', async () => {
  const record = { chosen: 'a', rejected: ['b', 'c'], responses: [{ text: 'd' }], choices: ['e'] };
  assert.deepEqual(await pass(scoreProgress, record, {}), ['5.0 texts/s']);
  const views = [{ name: 'f', ops: [], seed: 0 }];
  assert.deepEqual(await pass(augmentProgress, { images: ['i', 'j'] }, { views }), ['2.0 images/s']);
});

test('pair: kept; annotate: outcomes, cost, cache', () => {
  assert.deepEqual(pairProgress({ ...newCounts(), written: 3 }).parts!(1), ['3 kept']);
  const tally = newTally(true);
  Object.assign(tally, { outcomes: { ok: 5, refused: 1, timeout: 2 }, cost: 0.127, cached: 4 });
  assert.deepEqual(annotateProgress(tally).parts!(1), ['5 ok', '3 not ok', '0.13 USD', '4 cached']);
  assert.deepEqual(annotateProgress(newTally(false)).parts!(1), ['0 ok', '0 cached']);
});
