// SPDX-License-Identifier: Apache-2.0
// The training run: rows in, one metric row a step out, checkpoints on the way.
import { createHash } from 'node:crypto';
import { mkdir } from 'node:fs/promises';
import type { LossNeeds, StepResult, TrainerEngine, TrainerSettings, TrainRow } from '../../engine/train-requests.ts';
import { RunError, UsageError } from '../../records/error.ts';
import type { ModelContext } from '../model-context.ts';
import type { Row } from '../stage.ts';
import { latestCheckpoint, restoreCheckpoint, saveCheckpoint } from './checkpoint.ts';
import { CollapseWatch } from './collapse.ts';
import { type MetricRow, pairRewards, preferenceMetrics, type RowFigures, rowFigures } from './metrics.ts';
import { rowsOfRank, stepRows, trainingLength } from './order.ts';
import { checkFingerprint, computeReference, loadReference, type ReferenceSource, saveReference } from './reference.ts';
import { prepareTrainRow, referenceSums } from './rows.ts';

export interface TrainOptions {
  /** Output directory: the adapter at its top when the run is whole, checkpoints below. */
  dir: string;
  settings: TrainerSettings;
  batchSize: number;
  shuffle: boolean;
  saveEvery: number;
  keepCheckpoints: number;
  resume: boolean;
  lossOn: 'last' | 'all';
  /** Undefined: any stored reference is taken. */
  referenceSource?: ReferenceSource;
  /** File for the first step's gradients; the run ends after writing it when there are no steps to do. */
  saveGradients?: string;
  stop: AbortSignal;
  /** What stopped the run, as a number above 0: of several ranks the largest is what train() returns. */
  stopCode?(): number;
  note(message: string): void;
  warn(message: string): void;
  onStep?(row: MetricRow, totalSteps: number): void;
}

/** Checks every row before the first step, so that a bad one does not end a run half-way. */
export function checkRows(rows: readonly Row[], options: Pick<TrainOptions, 'referenceSource'>): void {
  if (rows.length === 0) throw new UsageError('expected at least one record to train on, got none');
  const { referenceSource } = options;
  if (referenceSource !== undefined) for (const row of rows) checkFingerprint(row, referenceSource);
}

/**
 * Trains on `rows` until the last step or `stop` of any rank. On stop the state is saved and the generator ends, returning the stop code; else 0.
 * Every rank takes its rows of each step; rank 0 alone yields metrics, and reads and writes files.
 */
export async function* train(
  rows: readonly Row[],
  trainer: TrainerEngine,
  needs: LossNeeds,
  context: ModelContext,
  options: TrainOptions,
): AsyncGenerator<MetricRow, number> {
  checkRows(rows, options);
  const { dir, settings, batchSize, stop } = options;
  const { rank, numRanks } = trainer;
  if (rank === 0) await mkdir(dir, { recursive: true });
  const fingerprint = runFingerprint(rows, options, context);
  await checkSameRun(trainer, fingerprint);
  const latest = rank === 0 ? await latestCheckpoint(dir) : undefined;
  if (!options.resume && latest !== undefined)
    throw new UsageError(
      `-o ${dir}: holds checkpoints of another run; go on with --resume, or choose another directory`,
    );
  const from = (await trainer.exchange(latest ?? ''))[0] || undefined;
  const prepare = (number: number) => prepareTrainRow(rows[number]!, { needs, lossOn: options.lossOn }, context);

  // Before restoring: the reference is the model as the run first saw it.
  const reference = await liveReference(rows, needs, prepare, trainer, fingerprint, from !== undefined, options);
  const withReference = async (number: number): Promise<TrainRow> => {
    const row = await prepare(number);
    const ref = reference.get(number);
    return ref === undefined ? row : { ...row, ref };
  };
  if (from !== undefined) {
    const state = await restoreCheckpoint(from, trainer, fingerprint);
    options.note(`going on after step ${state.step} (${from})`);
  }

  const { stepsPerEpoch } = trainingLength(rows.length, batchSize, 1);
  const rowsOfStep = stepRows({ numRows: rows.length, batchSize, seed: settings.seed, shuffle: options.shuffle });
  const load = (step: number) => Promise.all([...rowsOfRank(rowsOfStep(step), rank, numRanks)].map(withReference));
  const watch = new CollapseWatch();
  let saved = trainer.stepsDone;
  const save = async () => {
    if (saved === trainer.stepsDone && saved > 0) return;
    await saveCheckpoint(dir, trainer, fingerprint, options.keepCheckpoints);
    saved = trainer.stepsDone;
  };

  if (options.saveGradients !== undefined) {
    await trainer.saveGradients(await load(trainer.stepsDone), options.saveGradients);
    options.note(`gradients of step ${trainer.stepsDone + 1} are in ${options.saveGradients}`);
  }
  const isStopped = () => trainer.agree(stop.aborted ? (options.stopCode?.() ?? 1) : 0);
  let stopped = 0;
  let next = trainer.stepsDone < settings.totalSteps ? load(trainer.stepsDone) : undefined;
  while (trainer.stepsDone < settings.totalSteps) {
    stopped = await isStopped();
    if (stopped > 0) break;
    const started = performance.now();
    const batch = await next!;
    // The rows of the next step are made ready while this one computes.
    next = trainer.stepsDone + 1 < settings.totalSteps ? load(trainer.stepsDone + 1) : undefined;
    next?.catch(() => undefined);
    const result = await trainer.step(batch, stop).catch((cause: unknown) => {
      if (cause instanceof RunError && cause.code === 'cancelled') return undefined;
      throw cause;
    });
    if (result === undefined) {
      stopped = Math.max(1, await isStopped());
      break;
    }
    const figures = await everyRanks(trainer, rowFigures(batch, result.rows));
    if (rank === 0) {
      const seconds = (performance.now() - started) / 1000;
      const row = metricRow(figures, result, trainer, settings.beta, stepsPerEpoch, seconds);
      for (const { message } of watch.observe(pairRewards(figures, settings.beta))) options.warn(message);
      yield row;
      options.onStep?.(row, settings.totalSteps);
    }
    if (options.saveEvery > 0 && trainer.stepsDone % options.saveEvery === 0) await save();
  }
  await next?.catch(() => undefined);
  await save();
  if (stopped === 0) await trainer.save(dir, { state: false });
  return stopped;
}

/** The lists of all ranks, one after the other. */
async function everyRanks<T>(trainer: TrainerEngine, own: readonly T[]): Promise<T[]> {
  if (trainer.numRanks === 1) return [...own];
  return (await trainer.exchange(JSON.stringify(own))).flatMap((text) => JSON.parse(text) as T[]);
}

// Ranks on machines that see different files would train one model on two data sets.
async function checkSameRun(trainer: TrainerEngine, fingerprint: string): Promise<void> {
  const all = await trainer.exchange(fingerprint);
  const other = all.findIndex((theirs) => theirs !== all[0]);
  if (other > 0)
    throw trainer.rank === 0
      ? new UsageError(`expected the same records, model and settings on every rank, got others on rank ${other}`)
      : new RunError('peer', 'ranks differ');
}

async function liveReference(
  rows: readonly Row[],
  needs: LossNeeds,
  prepare: (number: number) => Promise<TrainRow>,
  trainer: TrainerEngine,
  fingerprint: string,
  isResumed: boolean,
  options: TrainOptions,
): Promise<Map<number, number[]>> {
  if (!needs.reference) return new Map();
  const lacking = [...rows.keys()].filter((number) => referenceSums(rows[number]!.record, needs) === undefined);
  if (lacking.length === 0) return new Map();
  const { rank, numRanks } = trainer;
  const own = rank === 0 ? await loadReference(options.dir, fingerprint) : undefined;
  const stored = JSON.parse((await trainer.exchange(JSON.stringify(own === undefined ? null : [...own])))[0]!);
  if (stored !== null) return new Map(stored as [number, number[]][]);
  if (isResumed)
    throw new UsageError(
      `--resume: ${options.dir}: expected the run's reference.json, got none; records without ref_* need it`,
    );
  options.note(
    `${lacking.length} of ${rows.length} rows carry no reference log-probs: computing them with the model as it stands now`,
  );
  const share = lacking.filter((_, index) => index % numRanks === rank);
  const computed = await computeReference(share, prepare, trainer, {
    batch: options.batchSize,
    signal: options.stop,
    onProgress: () => undefined,
  });
  const reference = new Map(await everyRanks(trainer, [...computed]));
  if (rank === 0) await saveReference(options.dir, reference, fingerprint);
  return reference;
}

function metricRow(
  rows: readonly RowFigures[],
  result: StepResult,
  trainer: TrainerEngine,
  beta: number,
  stepsPerEpoch: number,
  seconds: number,
): MetricRow {
  return {
    step: trainer.stepsDone,
    epoch: trainer.stepsDone / stepsPerEpoch,
    loss: result.loss,
    ...preferenceMetrics(rows, beta),
    grad_norm: result.gradNorm,
    learning_rate: result.learningRate,
    tokens_per_second: result.numTokens / seconds,
    pairs_per_second: rows.length / seconds,
    peak_memory_bytes: trainer.peakBytes(),
  };
}

// What the numbers of a run depend on: the rows in order, the model, and the settings; not how it is cut into micro-batches.
function runFingerprint(rows: readonly Row[], options: TrainOptions, context: ModelContext): string {
  const { microBatchTokens: _micro, recompute: _recompute, ...settings } = options.settings;
  const hash = createHash('sha256');
  const { batchSize, shuffle, lossOn } = options;
  hash.update(JSON.stringify({ settings, batchSize, shuffle, lossOn, model: context.fingerprint }));
  for (const { record } of rows) {
    const { id, prompt, images, chosen, rejected, response, label, rejected_images } = record;
    hash.update(JSON.stringify([id, prompt, images, chosen, rejected, response, label, rejected_images]));
  }
  return hash.digest('hex');
}
