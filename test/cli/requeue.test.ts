// SPDX-License-Identifier: Apache-2.0
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { requeue, slurmJob } from '../../src/cli/requeue.ts';

test('a job by its number, an array task by both', () => {
  assert.equal(slurmJob({ SLURM_JOB_ID: '7' }), '7');
  assert.equal(slurmJob({ SLURM_JOB_ID: '9', SLURM_ARRAY_JOB_ID: '7', SLURM_ARRAY_TASK_ID: '2' }), '7_2');
  assert.equal(slurmJob({}), undefined);
});

test('a job that cannot be requeued gives a message', async () => {
  assert.match(await requeue({}), /--requeue: this is no Slurm job/);
  // No such job, or no scontrol: either way it failed and says so.
  assert.match(await requeue({ SLURM_JOB_ID: '1' }), /--requeue: scontrol requeue 1 failed: ./);
});
