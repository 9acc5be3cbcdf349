// SPDX-License-Identifier: Apache-2.0
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CollapseWatch, type PairReward } from '../../../src/stages/train/collapse.ts';

/** Runs 40 steps of 16 pairs through a watch and returns the names it raised. */
function raised(pair: (index: number) => PairReward): string[] {
  const watch = new CollapseWatch();
  const names: string[] = [];
  for (let step = 0; step < 40; step++) {
    const pairs = Array.from({ length: 16 }, (_, index) => pair(step * 16 + index));
    names.push(...watch.observe(pairs).map((warning) => warning.name));
  }
  return names;
}

/** A jitter in [-1, 1) without a pattern that follows anything else here. */
const jitter = (index: number) => Math.sin(index * 12.9898) % 1;

test('a healthy run raises nothing', () => {
  assert.deepEqual(
    raised((index) => ({
      chosenReward: 0.001 * index + 0.2 * jitter(index),
      rejectedReward: -0.002 * index + 0.2 * jitter(index + 7),
      numChosenTokens: 40 + (index % 7),
      numRejectedTokens: 40 + (index % 5),
    })),
    [],
  );
});

test('chosen falling with rejected is raised once', () => {
  assert.deepEqual(
    raised((index) => ({
      chosenReward: -0.01 * index,
      rejectedReward: -0.011 * index + 0.3 * jitter(index),
      numChosenTokens: 40 + (index % 7),
      numRejectedTokens: 40 + (index % 5),
    })),
    ['chosen-reward-falling'],
  );
});

test('a margin that is length is raised', () => {
  assert.deepEqual(
    raised((index) => ({
      chosenReward: 0.1 * (index % 9) + 0.05 * jitter(index),
      rejectedReward: 0,
      numChosenTokens: 40 + (index % 9),
      numRejectedTokens: 40,
    })),
    ['length-drift'],
  );
});

test('saturated margins are raised', () => {
  assert.deepEqual(
    raised((index) => ({
      chosenReward: 4 + jitter(index),
      rejectedReward: -4,
      numChosenTokens: 40 + (index % 7),
      numRejectedTokens: 40 + (index % 5),
    })),
    ['margin-saturation'],
  );
});
