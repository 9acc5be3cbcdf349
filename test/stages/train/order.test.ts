// SPDX-License-Identifier: Apache-2.0
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { epochOrder, rowsOfRank, stepRows, trainingLength } from '../../../src/stages/train/order.ts';

test('length: the last batch may be short, fractional epochs round up, max steps rule', () => {
  assert.deepEqual(trainingLength(10, 4, 1), { stepsPerEpoch: 3, totalSteps: 3 });
  assert.deepEqual(trainingLength(10, 4, 0.5), { stepsPerEpoch: 3, totalSteps: 2 });
  assert.deepEqual(trainingLength(10, 4, 3, 7), { stepsPerEpoch: 3, totalSteps: 7 });
  assert.deepEqual(trainingLength(21600, 128, 1), { stepsPerEpoch: 169, totalSteps: 169 });
});

test('every epoch is a permutation, another one each time, the same for the same seed', () => {
  const first = epochOrder(100, 0, 42, true);
  assert.deepEqual(
    [...first].sort((a, b) => a - b),
    Array.from({ length: 100 }, (_, index) => index),
  );
  assert.deepEqual(first, epochOrder(100, 0, 42, true));
  assert.notDeepEqual(first, epochOrder(100, 1, 42, true));
  assert.notDeepEqual(first, epochOrder(100, 0, 43, true));
  assert.deepEqual([...epochOrder(4, 9, 42, false)], [0, 1, 2, 3]);
});

test('the rows of a step do not depend on the steps before it', () => {
  const options = { numRows: 10, batchSize: 4, seed: 1, shuffle: true };
  const straight = stepRows(options);
  const all = Array.from({ length: 7 }, (_, step) => [...straight(step)]);
  assert.deepEqual(
    all.map((rows) => rows.length),
    [4, 4, 2, 4, 4, 2, 4],
  );
  for (const step of [5, 2, 6, 0]) assert.deepEqual([...stepRows(options)(step)], all[step]);
  assert.deepEqual(
    all
      .slice(0, 3)
      .flat()
      .sort((a, b) => a - b),
    Array.from({ length: 10 }, (_, index) => index),
  );
});

test('the rows of the ranks are the rows of the step, evenly', () => {
  const rows = Uint32Array.from({ length: 11 }, (_, index) => 100 + index);
  for (const numRanks of [1, 2, 3, 4, 16]) {
    const shares = Array.from({ length: numRanks }, (_, rank) => [...rowsOfRank(rows, rank, numRanks)]);
    assert.deepEqual(shares.flat(), [...rows]);
    const sizes = shares.map(({ length }) => length);
    assert.ok(Math.max(...sizes) - Math.min(...sizes) <= 1, `${numRanks} ranks: ${sizes}`);
  }
});
