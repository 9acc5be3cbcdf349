// SPDX-License-Identifier: Apache-2.0
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseShard } from '../../src/cli/shard.ts';

test('INDEX/COUNT counts from 0', () => {
  assert.deepEqual(parseShard('0/4'), { index: 0, count: 4 });
  assert.deepEqual(parseShard('3/4'), { index: 3, count: 4 });
});

test('anything else is refused with what was expected', () => {
  for (const text of ['4/4', '1', '1/0', '-1/4', '1/4/2', 'a/b', ''])
    assert.throws(() => parseShard(text), {
      name: 'UsageError',
      message: /expected INDEX\/COUNT with 0 <= INDEX < COUNT/,
    });
});

test('auto is task (ID - MIN) / STEP of COUNT', () => {
  const env = {
    SLURM_ARRAY_TASK_ID: '9',
    SLURM_ARRAY_TASK_MIN: '1',
    SLURM_ARRAY_TASK_STEP: '4',
    SLURM_ARRAY_TASK_COUNT: '3',
  };
  assert.deepEqual(parseShard('auto', env), { index: 2, count: 3 });
  assert.deepEqual(parseShard('auto', { SLURM_ARRAY_TASK_ID: '2', SLURM_ARRAY_TASK_COUNT: '4' }), {
    index: 2,
    count: 4,
  });
});

test('auto outside an array, or in one with gaps, says so', () => {
  assert.throws(() => parseShard('auto', {}), /SLURM_ARRAY_TASK_ID: expected an integer, it is not set/);
  assert.throws(
    () => parseShard('auto', { SLURM_ARRAY_TASK_ID: '7', SLURM_ARRAY_TASK_COUNT: '3' }),
    /array without gaps/,
  );
  assert.throws(() => parseShard('auto', { SLURM_ARRAY_TASK_ID: 'x', SLURM_ARRAY_TASK_COUNT: '3' }), /got "x"/);
});
