// SPDX-License-Identifier: Apache-2.0
// The figures of a step are trl's: on the same sums (scripts/goldens/trl_losses.py) the same reward metrics.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import type { TrainRow } from '../../../src/engine/train-requests.ts';
import { pairRewards, preferenceMetrics, rowFigures } from '../../../src/stages/train/metrics.ts';

interface Sums {
  policy: number;
  ref: number;
  num_tokens: number;
}
interface Golden {
  beta: number;
  chosen: Sums[];
  rejected: Sums[];
  pairs: { loss_name: string; metrics: Record<string, number> }[];
}
const golden: Golden = JSON.parse(readFileSync('fixtures/golden/trl-losses.json', 'utf8'));

const row = (ref: number[], numRejected = ref.length - 1): TrainRow => ({
  id: '1',
  segments: [],
  images: [],
  numRejected,
  numRejectedImages: 0,
  label: true,
  ref,
});

test('the metrics of a pair loss are what trl logs', () => {
  const rows = golden.chosen.map((chosen, index) => row([chosen.ref, golden.rejected[index]!.ref]));
  const sums = golden.chosen.map((chosen, index) => ({
    policy: [chosen.policy, golden.rejected[index]!.policy],
    numTokens: [chosen.num_tokens, golden.rejected[index]!.num_tokens],
  }));
  const got = preferenceMetrics(rowFigures(rows, sums), golden.beta);
  const { metrics } = golden.pairs.find(({ loss_name }) => loss_name === 'sigmoid')!;
  assert.deepEqual(Object.keys(got).sort(), Object.keys(metrics).sort());
  for (const [key, value] of Object.entries(metrics)) {
    const own = got[key as keyof typeof got]!;
    assert.ok(Math.abs(own - value) < 1e-7 * (1 + Math.abs(value)), `${key}: ${own} ${value}`);
  }
});

test('K rejected answers count as their mean; one answer alone has no rewards', () => {
  const sums = [{ policy: [-1, -4, -8], numTokens: [2, 3, 5] }];
  const rows = [row([-2, -3, -9])];
  const [pair] = pairRewards(rowFigures(rows, sums), 0.5);
  assert.deepEqual(pair, {
    chosenReward: 0.5,
    rejectedReward: 0,
    numChosenTokens: 2,
    numRejectedTokens: 4,
  });
  // The chosen answer gained 1; one rejected lost 1, the other gained 1 as well.
  assert.equal(preferenceMetrics(rowFigures(rows, sums), 0.5)['rewards/accuracies'], 0.5);
  const alone = preferenceMetrics(rowFigures([row([-2], 0)], [{ policy: [-1], numTokens: [2] }]), 0.5);
  assert.deepEqual(alone, { 'logps/chosen': -1 });
});
