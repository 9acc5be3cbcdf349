// SPDX-License-Identifier: Apache-2.0
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { expectedReply, logSumExp, parseReplies } from '../../../src/stages/annotate/allowed-replies.ts';

const grades = parseReplies('{"0": [0, "0"], "1": [1, "1"], "4": [4, "4", "four"]}')!;

test('the expected grade is the values weighted by p over the sum of the replies; the mass is that sum', () => {
  const logps = { 0: Math.log(0.1), 1: Math.log(0.2), 4: Math.log(0.3) };
  const { grade, mass } = expectedReply(grades, logps);
  assert.ok(Math.abs(grade - (0.2 * 1 + 0.3 * 4) / 0.6) < 1e-12);
  assert.ok(Math.abs(mass - 0.6) < 1e-12);
});

test('replies that no double could hold as probabilities still have a grade', () => {
  const { grade, mass } = expectedReply(grades, { 0: -2000, 1: -2000, 4: -2000 });
  assert.ok(Math.abs(grade - 5 / 3) < 1e-12);
  assert.equal(mass, 0);
  assert.ok(Math.abs(logSumExp([-1000, -1000]) - (Math.log(2) - 1000)) < 1e-9);
});

test('a reply without a log-probability, or with another, is no answer', () => {
  for (const logps of [
    { 0: -1, 1: -1 },
    { 0: -1, 1: -1, 2: -1 },
    { 0: -1, 1: -1, 4: Number.NaN },
    { 0: -1, 1: -1, 4: -1, 5: -1 },
  ])
    assert.throws(() => expectedReply(grades, logps as Record<string, number>), RangeError);
});
