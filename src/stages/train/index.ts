// SPDX-License-Identifier: Apache-2.0
// The training run: rows in, one metric row a step out, checkpoints on the way.
import { createHash } from 'node:crypto';
import { mkdir } from 'node:fs/promises';
import type { LossNeeds, StepResult, TrainerEngine, TrainerSettings, TrainRow } from '../../engine/train-requests.ts';
import { UsageError } from '../../records/error.ts';
import type { ModelContext } from '../model-context.ts';
import type { Row } from '../stage.ts';
import { latestCheckpoint, restoreCheckpoint, saveCheckpoint } from './checkpoint.ts';
import { CollapseWatch } from './collapse.ts';
import { type MetricRow, pairRewards, preferenceMetrics } from './metrics.ts';
import { stepRows, trainingLength } from './order.ts';
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

/** Trains on `rows` until the last step or `stop`. On stop the state is saved and the generator ends; the caller looks at the signal. */
export async function* train(
  rows: readonly Row[],
  trainer: TrainerEngine,
  needs: LossNeeds,
  context: ModelContext,
  options: TrainOptions,
): AsyncGenerator<MetricRow> {
  checkRows(rows, options);
  const { dir, settings, batchSize, stop } = options;
  await mkdir(dir, { recursive: true });
  const fingerprint = runFingerprint(rows, options, context);
  const from = options.resume ? await latestCheckpoint(dir) : undefined;
  if (!options.resume && (await latestCheckpoint(dir)) !== undefined)
    throw new UsageError(
      `-o ${dir}: holds checkpoints of another run; go on with --resume, or choose another directory`,
    );
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
  const load = (step: number) => Promise.all([...rowsOfStep(step)].map(withReference));
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
  let next = trainer.stepsDone < settings.totalSteps ? load(trainer.stepsDone) : undefined;
  while (trainer.stepsDone < settings.totalSteps && !stop.aborted) {
    const started = performance.now();
    const batch = await next!;
    // The rows of the next step are made ready while this one computes.
    next = trainer.stepsDone + 1 < settings.totalSteps ? load(trainer.stepsDone + 1) : undefined;
    next?.catch(() => undefined);
    const result = await trainer.step(batch, stop).catch((cause: unknown) => {
      if (stop.aborted) return undefined;
      throw cause;
    });
    if (result === undefined) break;
    const row = metricRow(batch, result, trainer, settings.beta, stepsPerEpoch, (performance.now() - started) / 1000);
    for (const { message } of watch.observe(pairRewards(batch, result, settings.beta))) options.warn(message);
    yield row;
    options.onStep?.(row, settings.totalSteps);
    if (options.saveEvery > 0 && trainer.stepsDone % options.saveEvery === 0) await save();
  }
  await next?.catch(() => undefined);
  if (stop.aborted && trainer.stepsDone < settings.totalSteps) {
    await save();
    return;
  }
  await save();
  await trainer.save(dir, { state: false });
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
  const stored = await loadReference(options.dir, fingerprint);
  if (stored !== undefined) return stored;
  if (isResumed)
    throw new UsageError(
      `--resume: ${options.dir}: expected the run's reference.json, got none; records without ref_* need it`,
    );
  options.note(
    `${lacking.length} of ${rows.length} rows carry no reference log-probs: computing them with the model as it stands now`,
  );
  const reference = await computeReference(lacking, prepare, trainer, {
    batch: options.batchSize,
    signal: options.stop,
    onProgress: () => undefined,
  });
  await saveReference(options.dir, reference, fingerprint);
  return reference;
}

function metricRow(
  batch: readonly TrainRow[],
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
    ...preferenceMetrics(batch, result, beta),
    grad_norm: result.gradNorm,
    learning_rate: result.learningRate,
    tokens_per_second: result.numTokens / seconds,
    pairs_per_second: batch.length / seconds,
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
