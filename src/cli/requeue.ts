// SPDX-License-Identifier: Apache-2.0
// --requeue: requeues a Slurm job that is stopped before its time limit.
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';

/** scontrol's name of this job or array task; undefined outside of Slurm. */
export function slurmJob(env = process.env): string | undefined {
  const { SLURM_ARRAY_JOB_ID: array, SLURM_ARRAY_TASK_ID: task, SLURM_JOB_ID: job } = env;
  return array !== undefined && task !== undefined ? `${array}_${task}` : job;
}

/** Asks Slurm to requeue the job; returns a message about the outcome. */
export async function requeue(env = process.env): Promise<string> {
  const job = slurmJob(env);
  if (job === undefined) return '--requeue: this is no Slurm job (SLURM_JOB_ID is not set): nothing was requeued';
  try {
    await promisify(execFile)('scontrol', ['requeue', job]);
    return `job ${job} is requeued`;
  } catch (cause) {
    const { stderr, message } = cause as Error & { stderr?: string };
    return `--requeue: scontrol requeue ${job} failed: ${(stderr || message).trim().split('\n')[0]}`;
  }
}
