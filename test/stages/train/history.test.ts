// SPDX-License-Identifier: Apache-2.0
// Which evaluation is the best, when a run ends early, and when the held-out rows get worse.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { EvaluationHistory } from '../../../src/stages/train/history.ts';

test('lower is better for a loss, higher for an accuracy; a tie is no gain, and the first of the best is kept', () => {
  const loss = new EvaluationHistory('eval/loss', 0);
  assert.deepEqual(
    [0.7, 0.5, 0.5, 0.6].map((value, step) => loss.add(step, { 'eval/loss': value })),
    [true, true, false, false],
  );
  assert.equal(loss.best!.step, 1);
  const accuracy = new EvaluationHistory('eval/rewards/accuracies', 0);
  const values = [0, 0.5, 0.75, 0.75];
  for (const [step, value] of values.entries())
    accuracy.add(step, { 'eval/loss': 1 - step, 'eval/rewards/accuracies': value });
  assert.equal(accuracy.best!.step, 2);
});

test('a run is over after as many evaluations without gain as it waits for, the state before the first step counted', () => {
  const over = (patience: number, values: number[]) => {
    const history = new EvaluationHistory('eval/loss', patience);
    return values.map((value, step) => {
      history.add(step, { 'eval/loss': value });
      return history.isOver;
    });
  };
  assert.deepEqual(over(2, [0.7, 0.7, 0.7]), [false, false, true]);
  assert.deepEqual(over(2, [0.7, 0.8, 0.6, 0.6, 0.7]), [false, false, false, false, true]);
  assert.deepEqual(over(0, [0.7, 0.8, 0.9]), [false, false, false]);
});

test('a restored history decides like the original', () => {
  const straight = new EvaluationHistory('eval/loss', 2);
  straight.add(0, { 'eval/loss': 0.7, 'eval/rewards/accuracies': 0.5 });
  straight.stepped(0.5);
  const resumed = new EvaluationHistory('eval/loss', 2);
  resumed.restore(JSON.parse(JSON.stringify(straight.state)));
  for (const history of [straight, resumed]) {
    history.stepped(1);
    history.add(2, { 'eval/loss': 0.8, 'eval/rewards/accuracies': 0.25 });
  }
  assert.equal(JSON.stringify(resumed.state), JSON.stringify(straight.state));
  assert.equal(resumed.state.evaluations[1]!.training, 0.75);
});

test('the held-out rows get worse when their accuracy falls twice while that of training rises', () => {
  const isWorse = (heldOut: number[], training: number[], numRows = 100) => {
    const history = new EvaluationHistory('eval/loss', 0);
    for (const [step, accuracy] of heldOut.entries()) {
      history.stepped(training[step]);
      history.add(step, { 'eval/loss': 0.7, 'eval/rewards/accuracies': accuracy });
    }
    return history.isWorse(numRows);
  };
  assert.equal(isWorse([0.8, 0.7, 0.6], [0.6, 0.7, 0.9]), true);
  assert.equal(isWorse([0.8, 0.7, 0.75], [0.6, 0.7, 0.9]), false);
  assert.equal(isWorse([0.8, 0.7, 0.6], [0.6, 0.9, 0.7]), false);
  assert.equal(isWorse([0.8, 0.79, 0.78], [0.6, 0.7, 0.9]), false, 'within one standard error');
  assert.equal(isWorse([0.8, 0.6], [0.6, 0.7]), false);
});
