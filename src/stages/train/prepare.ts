// SPDX-License-Identifier: Apache-2.0
// Before the first step: the run's identity, the checkpoint to resume from, rows with reference log-probabilities.

import type { LossNeeds, TrainerEngine, TrainRow } from '../../engine/train-requests.ts';
import type { Row } from '../../flow/stage.ts';
import type { ModelContext } from '../../model/context.ts';
import { count } from '../../records/count.ts';
import { RunError, UsageError } from '../../records/error.ts';
import { latestCheckpoint } from './checkpoint.ts';
import type { MeasuredRows } from './measure.ts';
import { planMemory } from './memory.ts';
import type { TrainOptions } from './options.ts';
import { computeReference } from './reference.ts';
import { prepareTrainRow, referenceSums } from './rows.ts';
import { recordsDigest, renderingSettings, runIdentity } from './run-identity.ts';

/** Everything that a resumed run must have in common with the run that it resumes. */
export async function identityOf(rows: readonly Row[], context: ModelContext, options: TrainOptions) {
  const { settings, batchSize, shuffle, lossOn, initAdapter, heldOut, samples } = options;
  const evaluation = heldOut && {
    eval: recordsDigest(heldOut.rows),
    evalEvery: heldOut.every,
    earlyStop: heldOut.patience,
    keepBest: heldOut.metric,
  };
  const sampled = samples && { samplePrompts: recordsDigest(samples.rows), sampleEvery: samples.every };
  const { dtype, quantize } = context.engine.info;
  const weights = { ...(dtype !== 'f32' && { dtype }), ...(quantize !== 'none' && { quantize }) };
  const rendering = await renderingSettings(rows, context);
  const others = { batchSize, shuffle, lossOn, initAdapter, ...weights, ...rendering, ...evaluation, ...sampled };
  return runIdentity(rows, settings, others, context.fingerprint);
}

/** The directory of the latest checkpoint, on every rank. Throws UsageError if there is one without --resume. */
export async function checkpointToResume(
  trainer: TrainerEngine,
  { dir, resume }: TrainOptions,
): Promise<string | undefined> {
  const latest = trainer.rank === 0 ? await latestCheckpoint(dir) : undefined;
  if (!resume && latest !== undefined)
    throw new UsageError(
      `-o ${dir}: holds checkpoints of another run; rerun with --resume, or choose another directory`,
    );
  return (await trainer.exchange(latest ?? ''))[0] || undefined;
}

/** Plans the memory of all steps and prints the plan. */
export async function planSteps(
  sizes: MeasuredRows['sizes'],
  rowsOfStep: (step: number) => Uint32Array,
  trainer: TrainerEngine,
  { settings: { totalSteps }, note, warn }: TrainOptions,
): Promise<void> {
  const plan = await planMemory(sizes, rowsOfStep, totalSteps, trainer);
  note(`${count(sizes.length, 'record')}, ${count(totalSteps, 'step')}; ${trainer.memoryPlan()}`);
  if (trainer.rank === 0 && plan.activationBytes > plan.budget)
    warn('the activations may not fit in the free memory; a smaller --batch-tokens needs less');
}

/** What a run is made of. */
export interface RunParts {
  trainer: TrainerEngine;
  needs: LossNeeds;
  context: ModelContext;
  options: TrainOptions;
  /** The stop code that all ranks agree on, 0 to continue. */
  isStopped(): Promise<number>;
}

/** Prepares rows with their reference, by number. */
export type LoadRows = (numbers: Iterable<number>) => Promise<TrainRow[]>;

/**
 * A loader of the rows. Missing reference log-probabilities are computed first and kept in `file`; `digest` is the run's.
 * Undefined after a stop.
 */
export async function rowLoader(
  rows: readonly Row[],
  file: string,
  digest: string,
  { trainer, needs, context, options, isStopped }: RunParts,
): Promise<LoadRows | undefined> {
  const { dir, batchSize, lossOn } = options;
  const prepare = (number: number) => prepareTrainRow(rows[number]!, { needs, lossOn }, context);
  const lacking = [...rows.keys()].filter((n) => needs.reference && referenceSums(rows[n]!, needs) === undefined);
  const reference = await computeReference(lacking, prepare, trainer, {
    path: `${dir}/${file}`,
    digest,
    batch: batchSize,
    isStopped: async () => (await isStopped()) > 0,
    note: options.note,
    onProgress: (done) => options.onProgress({ phase: 'reference', done, total: lacking.length }),
  });
  if (reference === undefined) return undefined;
  return async (numbers) => {
    const wanted = [...numbers];
    const prepared = await Promise.all(wanted.map(prepare));
    return prepared.map((row, index) => {
      const ref = reference.get(wanted[index]!);
      return ref === undefined ? row : { ...row, ref };
    });
  };
}

// Ranks that see different files would train one model on different data.
export async function checkSameRun(trainer: TrainerEngine, digest: string): Promise<void> {
  const all = await trainer.exchange(digest);
  const other = all.findIndex((theirs) => theirs !== all[0]);
  if (other > 0)
    throw trainer.rank === 0
      ? new UsageError(`expected the same records, model and settings on every rank, got others on rank ${other}`)
      : new RunError('peer', 'ranks differ');
}
