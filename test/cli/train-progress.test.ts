// SPDX-License-Identifier: Apache-2.0
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { TrainProgressLine } from '../../src/cli/train-progress.ts';
import type { MetricRow } from '../../src/stages/train/metrics.ts';

const row: MetricRow = {
  step: 4,
  epoch: 1,
  loss: 0.65244,
  'rewards/margins': 0.2134,
  'rewards/accuracies': 0.75,
  grad_norm: 1,
  learning_rate: 1,
  tokens_per_second: 1,
  pairs_per_second: 3.24,
  peak_memory_bytes: 1,
};

test('what is done, what it came to, and the time left by the pace of this phase alone', () => {
  let now = 0;
  const line = new TrainProgressLine(() => now);
  const text = () => line.state().parts.join(', ');
  assert.deepEqual(line.state(), { parts: ['loading'] });
  line.update({ phase: 'reference', done: 100, total: 1000 });
  now = 10;
  line.update({ phase: 'reference', done: 200, total: 1000 });
  assert.equal(text(), 'reference 200/1,000, 1:20 left');
  assert.equal(line.state().share, 0.2);
  now = 50;
  // A resumed run begins at step 3: its pace counts from there.
  line.update({ phase: 'steps', done: 3, total: 12, row });
  assert.equal(text(), 'step 3/12, loss 0.652, accuracy 0.75, margin 0.21, 3.2 rows/s');
  now = 60;
  line.update({ phase: 'steps', done: 4, total: 12, row });
  assert.equal(text(), 'step 4/12, 1:20 left, loss 0.652, accuracy 0.75, margin 0.21, 3.2 rows/s');
  line.update({ phase: 'steps', done: 12, total: 12, row });
  assert.doesNotMatch(text(), /left/);
});

test('an answer alone has no accuracy and no margin', () => {
  const line = new TrainProgressLine(() => 0);
  const { 'rewards/margins': _margin, 'rewards/accuracies': _accuracy, ...sft } = row;
  line.update({ phase: 'steps', done: 1, total: 2, row: sft });
  assert.deepEqual(line.state(), { share: 0.5, parts: ['step 1/2', 'loss 0.652', '3.2 rows/s'] });
});
