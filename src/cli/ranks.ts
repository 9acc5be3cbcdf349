// SPDX-License-Identifier: Apache-2.0
// Processes that train together: the rank of this one, from flags and the launcher's environment, and the abort of all ranks if one fails.

import { availableParallelism, cpus } from 'node:os';
import { setTimeout } from 'node:timers/promises';
import { count } from '../records/count.ts';
import { RunError, UsageError } from '../records/error.ts';
import { StoppedError } from './exit.ts';

export interface Ranks {
  rank: number;
  size: number;
  /** Index of this process on its machine; decides its GPU and cores. */
  localRank: number;
  localSize: number;
}

interface Launched extends Ranks {
  by: string;
}

const alone: Launched = { rank: 0, size: 1, localRank: 0, localSize: 1, by: 'no launcher' };

/**
 * From flags > Open MPI's variables > a Slurm step of several tasks > PMI's. A batch script's process has SLURM_NTASKS but no SLURM_STEP_ID: it is
 * one rank. Throws UsageError if flags and launcher differ, or srun was started without an MPI.
 */
export function ranksOf(
  flags: { ranks?: number | undefined; 'local-rank'?: number | undefined },
  env = process.env,
): Ranks {
  const { ranks: asked, 'local-rank': localRank } = flags;
  const found = asked === 1 ? alone : launched(env);
  if (asked !== undefined && asked !== found.size)
    throw new UsageError(
      `--ranks ${asked}: expected as many processes, got ${found.size} (${found.by}); start it with mpirun -n ${asked} or srun --mpi=pmix -n ${asked}`,
    );
  const { by: _by, ...ranks } = found;
  return localRank === undefined ? ranks : { ...ranks, localRank };
}

// Environment variables of the launchers. Slurm's tasks per node look like "4(x2),3": the first number is enough.
const openMpi = {
  rank: 'OMPI_COMM_WORLD_RANK',
  size: 'OMPI_COMM_WORLD_SIZE',
  localRank: 'OMPI_COMM_WORLD_LOCAL_RANK',
  localSize: 'OMPI_COMM_WORLD_LOCAL_SIZE',
};
const slurmStep = {
  rank: 'SLURM_PROCID',
  size: 'SLURM_STEP_NUM_TASKS',
  localRank: 'SLURM_LOCALID',
  localSize: 'SLURM_STEP_TASKS_PER_NODE',
};
const pmi = { rank: 'PMI_RANK', size: 'PMI_SIZE', localRank: 'MPI_LOCALRANKID', localSize: 'MPI_LOCALNRANKS' };

function launched(env: NodeJS.ProcessEnv): Launched {
  const number = (name: string, otherwise: number) => Number(/^\d+/.exec(env[name] ?? '')?.[0] ?? otherwise);
  const read = (by: string, names: Record<keyof Ranks, string>): Launched => ({
    rank: number(names.rank, 0),
    size: number(names.size, 1),
    localRank: number(names.localRank, 0),
    localSize: number(names.localSize, 1),
    by,
  });
  if (env.OMPI_COMM_WORLD_SIZE !== undefined) return read('mpirun', openMpi);
  const step = read('srun', slurmStep);
  if (env.SLURM_STEP_ID !== undefined && step.size > 1) {
    if (env.PMIX_RANK === undefined && env.PMI_RANK === undefined)
      throw new UsageError(
        `srun started ${count(step.size, 'task')} without an MPI: use srun --mpi=pmix (srun --mpi=list lists the available ones), or --ranks 1 for independent processes`,
      );
    return step;
  }
  if (env.PMI_SIZE !== undefined) return read('mpiexec', pmi);
  refuseTorchRank(env);
  return alone;
}

// torchrun, accelerate and deepspeed start processes without an MPI: each would train alone on all records. A script that only exports WORLD_SIZE
// has started no ranks yet.
function refuseTorchRank({ RANK: rank, LOCAL_RANK: localRank, WORLD_SIZE: size }: NodeJS.ProcessEnv): void {
  if (!(Number(size) > 1) || (rank === undefined && localRank === undefined)) return;
  throw new UsageError(
    `RANK ${rank ?? localRank} of WORLD_SIZE ${size}: this process was started by a launcher such as torchrun or accelerate, not by an MPI launcher: use mpirun -n ${size} or srun --mpi=pmix -n ${size}, or --ranks 1 for an independent run`,
  );
}

/** Makes a process one of `ranks`: sets its threads and GPU, silences secondary ranks; from now on a failure ends all ranks. */
export async function initRank<V extends { threads?: number | undefined }>(
  ranks: Ranks,
  flags: V,
  run: { files: string[]; silence(): void },
): Promise<V> {
  if (ranks.size === 1) return flags;
  if (run.files.length === 0 || run.files.includes('-'))
    throw new UsageError('FILE: expected with several ranks, each of which reads all records, got stdin');
  if (ranks.rank > 0) run.silence();
  const gpu = gpuOf(ranks);
  if (gpu !== undefined) process.env.CUDA_VISIBLE_DEVICES = gpu;
  const { abortRanks } = await import('../engine/trainer.ts');
  whenFailing(abortRanks);
  return { ...flags, threads: flags.threads ?? threadsOf(ranks, availableParallelism(), cpus().length) };
}

/** Adds the rank to an error message. */
export function ofRank(error: unknown, { rank, size }: Ranks): unknown {
  // A stop concerns all ranks.
  if (error instanceof StoppedError) return error;
  if (size > 1 && error instanceof Error && !/^rank \d+: /.test(error.message))
    error.message = `rank ${rank}: ${error.message}`;
  return error;
}

/** The GPU of a rank that sees several, for CUDA_VISIBLE_DEVICES; undefined if the launcher has chosen. */
export function gpuOf({ size, localRank }: Ranks, visible = process.env.CUDA_VISIBLE_DEVICES): string | undefined {
  if (size === 1) return undefined;
  if (visible === undefined) return String(localRank);
  const gpus = visible.split(',').filter(Boolean);
  return gpus.length > 1 ? gpus[localRank % gpus.length] : undefined;
}

/** Threads of a rank: its share of the machine, or undefined if the launcher has bound it to cores. */
export function threadsOf({ size, localSize }: Ranks, usable: number, present: number): number | undefined {
  return size === 1 || usable < present ? undefined : Math.max(1, Math.floor(usable / localSize));
}

// --- the end ----------------------------------------------------------------------------------------------------------------------

let endOthers: ((exitCode: number) => void) | undefined;

/** Ends the other ranks if this one fails; undefined if this process has none. */
export function whenFailing(action: typeof endOthers): void {
  endOthers = action;
}

/** Time for the failed rank to print its error. */
const PEER_MS = 10_000;

/** Another rank failed and prints the cause. */
export function isPeerFailure(error: unknown): boolean {
  return error instanceof RunError && error.code === 'peer';
}

/** Ends all ranks of a failed run; returns if there are none. */
export async function endRanks(error: unknown, exitCode: number): Promise<void> {
  if (endOthers === undefined) return;
  if (isPeerFailure(error)) await setTimeout(PEER_MS);
  endOthers(exitCode);
}
