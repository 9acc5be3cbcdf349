// SPDX-License-Identifier: Apache-2.0
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { nearestName } from '../../src/cli/nearest.ts';

const VERBS = ['sample', 'score', 'pair', 'train', 'report', 'eval'];

for (const [typed, meant, why] of [
  ['smple', 'sample', 'a letter is missing'],
  ['samplee', 'sample', 'one too many'],
  ['tarin', 'train', 'two are swapped: one step'],
  ['scora', 'score', 'one is wrong'],
  ['sampel', 'sample', 'swapped at the end'],
  ['bogus', undefined, 'nothing is near'],
  ['xy', undefined, 'of two letters none may be wrong'],
  ['pxxr', undefined, 'half of it is wrong'],
] as const)
  test(`${typed}: ${why}`, () => assert.equal(nearestName(typed, VERBS), meant));

test('the nearer of two', () =>
  assert.equal(nearestName('lora-rr', ['lora-alpha', 'lora-r', 'lora-dropout']), 'lora-r'));
