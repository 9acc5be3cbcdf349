// SPDX-License-Identifier: Apache-2.0
// What a run cost, over its starts.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CostCount } from '../../../src/stages/train/cost.ts';

test("a resumed run continues its checkpoint's counts", () => {
  let now = 100;
  const first = new CostCount(() => now);
  first.step(4, 50);
  now = 103;
  const stored = first.cost;
  assert.deepEqual(stored, { seconds: 3, steps: 1, records: 4, tokens: 50 });
  now = 1000;
  const second = new CostCount(() => now);
  second.restore(JSON.parse(JSON.stringify(stored)));
  second.step(3, 20);
  now = 1002;
  assert.deepEqual(second.cost, { seconds: 5, steps: 2, records: 7, tokens: 70 });
});
