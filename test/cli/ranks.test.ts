// SPDX-License-Identifier: Apache-2.0
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { gpuOf, initRank, isPeerFailure, ofRank, ranksOf, threadsOf } from '../../src/cli/ranks.ts';
import { RunError, UsageError } from '../../src/records/error.ts';

const alone = { rank: 0, size: 1, localRank: 0, localSize: 1 };
const openMpi = {
  OMPI_COMM_WORLD_RANK: '3',
  OMPI_COMM_WORLD_SIZE: '4',
  OMPI_COMM_WORLD_LOCAL_RANK: '1',
  OMPI_COMM_WORLD_LOCAL_SIZE: '2',
};
const slurmStep = {
  SLURM_STEP_ID: '0',
  SLURM_STEP_NUM_TASKS: '8',
  SLURM_PROCID: '5',
  SLURM_LOCALID: '1',
  SLURM_STEP_TASKS_PER_NODE: '4(x2)',
};

test('without a launcher there is one rank, also in a batch script with several tasks', () => {
  assert.deepEqual(ranksOf({}, {}), alone);
  assert.deepEqual(ranksOf({}, { SLURM_JOB_ID: '7', SLURM_NTASKS: '2', SLURM_PROCID: '0', SLURM_LOCALID: '0' }), alone);
  assert.deepEqual(ranksOf({}, { SLURM_STEP_ID: '0', SLURM_STEP_NUM_TASKS: '1', SLURM_PROCID: '0' }), alone);
});

test('Open MPI comes before Slurm, a Slurm step with an MPI before nothing', () => {
  const four = { rank: 3, size: 4, localRank: 1, localSize: 2 };
  assert.deepEqual(ranksOf({}, openMpi), four);
  assert.deepEqual(ranksOf({}, { ...slurmStep, ...openMpi }), four);
  const eight = { rank: 5, size: 8, localRank: 1, localSize: 4 };
  assert.deepEqual(ranksOf({}, { ...slurmStep, PMIX_RANK: '5' }), eight);
  assert.deepEqual(ranksOf({}, { ...slurmStep, PMI_RANK: '5', PMI_SIZE: '8' }), eight);
  assert.deepEqual(ranksOf({}, { PMI_RANK: '1', PMI_SIZE: '2' }), { rank: 1, size: 2, localRank: 0, localSize: 1 });
});

test('flags come first: one process of its own, another GPU, a size that must be so', () => {
  assert.deepEqual(ranksOf({ ranks: 1 }, openMpi), alone);
  assert.deepEqual(ranksOf({ ranks: 1 }, slurmStep), alone);
  assert.equal(ranksOf({ ranks: 4, 'local-rank': 0 }, openMpi).localRank, 0);
  assert.throws(() => ranksOf({ ranks: 2 }, openMpi), /--ranks 2: expected as many processes, got 4 \(mpirun\)/);
  assert.throws(() => ranksOf({ ranks: 2 }, {}), /got 1 \(no launcher\); start it with mpirun -n 2/);
});

test('srun without an MPI is refused: every task would wait for the others', () => {
  assert.throws(() => ranksOf({}, slurmStep), /srun started 8 tasks without an MPI: use srun --mpi=pmix/);
});

test('torchrun and similar launchers start no ranks: each process would train alone', () => {
  const torchrun = { RANK: '1', LOCAL_RANK: '1', WORLD_SIZE: '2', MASTER_ADDR: 'localhost' };
  assert.throws(() => ranksOf({}, torchrun), /RANK 1 of WORLD_SIZE 2: .* use mpirun -n 2 or srun --mpi=pmix -n 2/);
  assert.throws(() => ranksOf({}, { LOCAL_RANK: '0', WORLD_SIZE: '2' }), /RANK 0 of WORLD_SIZE 2/);
  assert.deepEqual(ranksOf({ ranks: 1 }, torchrun), alone);
  assert.equal(ranksOf({}, { ...torchrun, ...openMpi }).size, 4);
  // One process, or a script that exports what its own ranks will need.
  assert.deepEqual(ranksOf({}, { ...torchrun, RANK: '0', WORLD_SIZE: '1' }), alone);
  assert.deepEqual(ranksOf({}, { WORLD_SIZE: '8', MASTER_ADDR: 'node0' }), alone);
});

test('a GPU a rank, unless the launcher has given each its own', () => {
  const second = { rank: 3, size: 4, localRank: 1, localSize: 2 };
  assert.equal(gpuOf(second, undefined), '1');
  assert.equal(gpuOf(second, '4,5'), '5');
  assert.equal(gpuOf({ ...second, localRank: 2 }, '4,5'), '4');
  assert.equal(gpuOf(second, '7'), undefined);
  assert.equal(gpuOf(alone, undefined), undefined);
});

test('threads: a share of the machine, unless the launcher has bound the rank', () => {
  const second = { rank: 1, size: 2, localRank: 1, localSize: 2 };
  assert.equal(threadsOf(second, 8, 8), 4);
  assert.equal(threadsOf({ ...second, localSize: 16 }, 8, 8), 1);
  assert.equal(threadsOf(second, 2, 8), undefined);
  assert.equal(threadsOf(alone, 8, 8), undefined);
});

test('ranks read files: what is piped in reaches one of them', async () => {
  const run = { files: [], silence: () => assert.fail('rank 0 speaks') };
  const ranks = { rank: 0, size: 2, localRank: 0, localSize: 2 };
  await assert.rejects(initRank(ranks, {}, run), UsageError);
  await assert.rejects(initRank(ranks, {}, { ...run, files: ['a', '-'] }), /each of which reads all records/);
  assert.deepEqual(await initRank(alone, { threads: 3 }, run), { threads: 3 });
});

test('an error names its rank once; other ranks print nothing', () => {
  const ranks = { rank: 1, size: 2, localRank: 1, localSize: 2 };
  const error = new RunError('io', 'no space');
  assert.equal((ofRank(error, ranks) as Error).message, 'rank 1: no space');
  assert.equal((ofRank(error, ranks) as Error).message, 'rank 1: no space');
  assert.equal((ofRank(new RunError('io', 'no space'), alone) as Error).message, 'no space');
  assert.ok(isPeerFailure(new RunError('peer', '')));
  assert.ok(!isPeerFailure(error));
});
