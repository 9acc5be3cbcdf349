// SPDX-License-Identifier: Apache-2.0
// The training run: rows in, one metric row a step out, checkpoints on the way.
import { mkdir } from 'node:fs/promises';
import type { LossNeeds, StepResult, TrainerEngine, TrainerSettings, TrainRow } from '../../engine/train-requests.ts';
import type { Row } from '../../flow/stage.ts';
import type { ModelContext } from '../../model/context.ts';
import { RunError, UsageError } from '../../records/error.ts';
import { latestCheckpoint, restoreCheckpoint, saveCheckpoint } from './checkpoint.ts';
import { CollapseWatch } from './collapse.ts';
import { type Cost, CostCount } from './cost.ts';
import { evaluate } from './evaluate.ts';
import { firstRewardsWarning } from './first-rewards.ts';
import { HeldOut } from './held-out.ts';
import { type EvalMetric, EvaluationHistory } from './history.ts';
import type { MeasuredRows } from './measure.ts';
import { planMemory } from './memory.ts';
import {
  type EndRow,
  type MetricRow,
  pairRewards,
  preferenceMetrics,
  type RowFigures,
  rowFigures,
  type TrainOutput,
  type WarningRow,
} from './metrics.ts';
import { rowsOfRank, stepRows, trainingLength } from './order.ts';
import { computeReference, everyRanks } from './reference.ts';
import { prepareTrainRow, referenceSums } from './rows.ts';
import { identityDigest, recordsDigest, renderingSettings, runIdentity } from './run-identity.ts';
import { Samples } from './samples.ts';

/** Where a run is. */
export type TrainProgress =
  | { phase: 'reference'; done: number; total: number }
  | { phase: 'steps'; done: number; total: number; row: MetricRow };

export interface HeldOutInput {
  rows: Row[];
  /** Steps between two evaluations; absent: an epoch's. */
  every?: number | undefined;
  /** Evaluations without gain that end the run; 0: none do. */
  patience: number;
  /** What says which state the run ends in; absent without patience: the last. */
  metric?: EvalMetric | undefined;
}

export interface SampleInput {
  /** Prompts that the model of the moment answers. */
  rows: Row[];
  /** Steps between two rounds of responses; absent: an epoch's. */
  every?: number | undefined;
}

/** What came of a run that was not stopped. */
export interface TrainEnd extends Cost {
  ranks: number;
  /** Of the rank with the most. */
  peakBytes: number;
  end: EndRow | undefined;
}

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
  /** Fingerprint of the adapter that training started from. */
  initAdapter?: string;
  /** Whether the model before the first step is the one that the stored sums say: rewards are 0 then. */
  startsAtReference: boolean;
  /** Rows that are not trained on, and what is done with their metrics. */
  heldOut?: HeldOutInput | undefined;
  /** Answered while training, into DIR/samples.ndjson. */
  samples?: SampleInput | undefined;
  /** File for the first step's gradients; the run ends after writing it when there are no steps to do. */
  saveGradients?: string | undefined;
  stop: AbortSignal;
  /** What stopped the run, as a number above 0: of several ranks the largest is what train() returns. */
  stopCode?(): number;
  note(message: string): void;
  warn(message: string): void;
  /** Called once: the step whose state the run starts in, and whether that state has been evaluated. */
  onStart?(step: number, hasEvaluated: boolean): void;
  onEnd?(end: TrainEnd): void;
  onProgress(progress: TrainProgress): void;
}

/**
 * Trains on `rows` until the last step or `stop` of any rank. On stop the state is saved and the generator ends, returning the stop code; else 0.
 * Every rank takes its rows of each step; rank 0 alone yields metrics, and reads and writes files.
 */
export async function* train(
  { rows, sizes }: MeasuredRows,
  trainer: TrainerEngine,
  needs: LossNeeds,
  context: ModelContext,
  options: TrainOptions,
): AsyncGenerator<TrainOutput, number> {
  const { dir, settings, batchSize, shuffle, lossOn, initAdapter, stop, heldOut: held } = options;
  const { rank, numRanks } = trainer;
  const costs = new CostCount();
  const rowsOfAll = stepRows({ numRows: rows.length, batchSize, seed: settings.seed, shuffle });
  const rowsOfStep = (step: number) => rowsOfRank(rowsOfAll(step), rank, numRanks);
  const warn = rank === 0 ? options.warn : () => undefined;
  if (rank === 0) await mkdir(dir, { recursive: true });
  const rendering = await renderingSettings(rows, context);
  const evaluation = held && {
    eval: recordsDigest(held.rows),
    evalEvery: held.every,
    earlyStop: held.patience,
    keepBest: held.metric,
  };
  const answered = options.samples && {
    samplePrompts: recordsDigest(options.samples.rows),
    sampleEvery: options.samples.every,
  };
  const others = { batchSize, shuffle, lossOn, initAdapter, ...rendering, ...evaluation, ...answered };
  const run = runIdentity(rows, settings, others, context.fingerprint);
  const digest = identityDigest(run);
  await checkSameRun(trainer, digest);
  const latest = rank === 0 ? await latestCheckpoint(dir) : undefined;
  if (!options.resume && latest !== undefined)
    throw new UsageError(
      `-o ${dir}: holds checkpoints of another run; go on with --resume, or choose another directory`,
    );
  const from = (await trainer.exchange(latest ?? ''))[0] || undefined;

  const plan = await planMemory(sizes, rowsOfStep, settings.totalSteps, trainer);
  options.note(`${rows.length} records, ${settings.totalSteps} steps; ${trainer.memoryPlan()}`);
  if (plan.activationBytes > plan.budget)
    warn('the activations may not fit the free memory even so; a smaller --batch-tokens takes less');

  const prepareFrom = (from: readonly Row[]) => (number: number) =>
    prepareTrainRow(from[number]!, { needs, lossOn }, context);
  const isStopped = () => trainer.agree(stop.aborted ? (options.stopCode?.() ?? 1) : 0);
  // Before restoring: the reference is the model as the run first saw it.
  const loaderOf = async (from: readonly Row[], file: string) => {
    const prepare = prepareFrom(from);
    const lacking = [...from.keys()].filter((n) => needs.reference && referenceSums(from[n]!, needs) === undefined);
    const reference = await computeReference(lacking, prepare, trainer, {
      path: `${dir}/${file}`,
      digest,
      batch: batchSize,
      isStopped: async () => (await isStopped()) > 0,
      note: options.note,
      onProgress: (done) => options.onProgress({ phase: 'reference', done, total: lacking.length }),
    });
    if (reference === undefined) return undefined;
    return async (number: number): Promise<TrainRow> => {
      const row = await prepare(number);
      const ref = reference.get(number);
      return ref === undefined ? row : { ...row, ref };
    };
  };
  const withReference = await loaderOf(rows, 'reference.ndjson');
  const loadHeldOut = withReference && held && (await loaderOf(held.rows, 'reference-eval.ndjson'));
  if (withReference === undefined || (held !== undefined && loadHeldOut === undefined))
    return Math.max(1, await isStopped());
  const { stepsPerEpoch } = trainingLength(rows.length, batchSize, 1);
  const warnings: WarningRow[] = [];
  const warnInRow = (name: string, message: string) => {
    warn(`${name}: ${message}`);
    warnings.push({ step: trainer.stepsDone, warning: name, message });
  };
  const heldOut =
    held &&
    new HeldOut(new EvaluationHistory(held.metric ?? 'eval/loss', held.patience), {
      dir,
      every: held.every ?? stepsPerEpoch,
      totalSteps: settings.totalSteps,
      stepsPerEpoch,
      keepsBest: held.metric !== undefined || held.patience > 0,
      numRows: held.rows.length,
      evaluate: () =>
        evaluate(trainer, {
          numRows: held.rows.length,
          load: loadHeldOut!,
          needs,
          beta: settings.lossOptions.beta,
          batch: batchSize,
          isStopped: async () => (await isStopped()) > 0,
        }),
      warn: warnInRow,
    });
  const samples =
    options.samples &&
    new Samples({
      dir,
      rows: options.samples.rows,
      every: options.samples.every ?? stepsPerEpoch,
      totalSteps: settings.totalSteps,
      seed: settings.seed,
      context,
      isStopped: async () => (await isStopped()) > 0,
    });
  if (from !== undefined) {
    const { history, cost } = await restoreCheckpoint(from, trainer, run);
    if (cost !== undefined) costs.restore(cost);
    if (history !== undefined) heldOut?.history.restore(history);
    options.note(`going on after step ${trainer.stepsDone} (${from})`);
  }

  await samples?.start(trainer, trainer.stepsDone, from === undefined);
  options.onStart?.(trainer.stepsDone, from !== undefined && (heldOut?.history.has(trainer.stepsDone) ?? true));

  const load = (step: number) => Promise.all(Array.from(rowsOfStep(step), withReference));
  if (options.saveGradients !== undefined) {
    await trainer.saveGradients(await load(trainer.stepsDone), options.saveGradients);
    options.note(`gradients of step ${trainer.stepsDone + 1} are in ${options.saveGradients}`);
  }
  let saved = trainer.stepsDone;
  const save = async () => {
    if (saved === trainer.stepsDone) return;
    await saveCheckpoint(
      dir,
      trainer,
      { run, history: heldOut?.history.state, cost: costs.cost },
      options.keepCheckpoints,
    );
    if (rank === 0) await heldOut?.prune();
    saved = trainer.stepsDone;
  };
  let stopped = 0;
  let isWhole = false;
  try {
    const isFirst = needs.reference && options.startsAtReference && trainer.stepsDone === 0;
    const checkFirst = (figures: RowFigures[]) => {
      const message = isFirst ? firstRewardsWarning(figures, context.engine.info.dtype) : undefined;
      if (message !== undefined) warnInRow('first-rewards', message);
    };
    const stepping = { costs, isStopped, save, stepsPerEpoch, checkFirst, heldOut, samples, warnings, warn: warnInRow };
    stopped = yield* steps(trainer, load, stepping, options);
    isWhole = true;
  } finally {
    // Whatever else ends the run (a row that cannot be read any more, a loss that is not finite, a closed pipe), the steps before it stay.
    // Saving takes all ranks, which a failure has parted.
    if (!isWhole && numRanks === 1) await save().catch(() => undefined);
  }
  await save();
  if (stopped > 0) return stopped;
  if (!(await heldOut?.finish(trainer))) await trainer.save(dir, { state: false });
  const peak = await trainer.agree(trainer.peakBytes());
  const end = heldOut?.endRow(trainer.stepsDone);
  options.onEnd?.({ ...costs.cost, ranks: numRanks, peakBytes: peak, end });
  if (end !== undefined && rank === 0) {
    options.note(endNote(end, dir));
    yield end;
  }
  return stopped;
}

function endNote({ step, stop_reason, best_step, best_metric, best_value, kept_step }: EndRow, dir: string): string {
  const stopped = stop_reason === 'early-stop' ? `stopped early after step ${step}; ` : '';
  const last = kept_step === step ? '' : `; the last, step ${step}, is in its checkpoint`;
  return `${stopped}best by ${best_metric}: step ${best_step} (${best_value.toPrecision(4)}); ${dir} holds step ${kept_step}${last}`;
}

interface Stepping {
  /** The stop code that all ranks agree on, 0 for going on. */
  isStopped(): Promise<number>;
  save(): Promise<void>;
  stepsPerEpoch: number;
  /** Looks at the rewards before any update. */
  checkFirst(figures: RowFigures[]): void;
  costs: CostCount;
  heldOut: HeldOut | undefined;
  samples: Samples | undefined;
  /** Rows of what was warned of since the last row; `warn` adds one. */
  warnings: WarningRow[];
  warn(name: string, message: string): void;
}

// Steps until the last one, or until a rank is asked to stop; a step under way then is given up. Returns the stop code.
async function* steps(
  trainer: TrainerEngine,
  load: (step: number) => Promise<TrainRow[]>,
  { costs, isStopped, save, stepsPerEpoch, checkFirst, heldOut, samples, warnings, warn }: Stepping,
  {
    settings: {
      lossOptions: { beta },
      totalSteps,
    },
    stop,
    saveEvery,
    onProgress,
  }: TrainOptions,
): AsyncGenerator<TrainOutput, number> {
  const watch = new CollapseWatch();
  let next = trainer.stepsDone < totalSteps ? load(trainer.stepsDone) : undefined;
  next?.catch(() => undefined);
  while (true) {
    if (heldOut?.isDue(trainer.stepsDone)) {
      const row = await heldOut.run(trainer);
      if (row === undefined) return Math.max(1, await isStopped());
      if (trainer.rank === 0) yield row;
    }
    if (trainer.rank === 0) yield* warnings.splice(0);
    if (samples?.isDue(trainer.stepsDone, heldOut?.history.isOver === true) && !(await samples.run(trainer)))
      return Math.max(1, await isStopped());
    if (saveEvery > 0 && trainer.stepsDone > 0 && trainer.stepsDone % saveEvery === 0) await save();
    if (trainer.stepsDone >= totalSteps || heldOut?.history.isOver) return 0;
    const asked = await isStopped();
    if (asked > 0) return asked;
    const started = performance.now();
    const batch = await next!;
    // The rows of the next step are made ready while this one computes.
    next = trainer.stepsDone + 1 < totalSteps ? load(trainer.stepsDone + 1) : undefined;
    next?.catch(() => undefined);
    const result = await trainer.step(batch, stop).catch((cause: unknown) => {
      if (cause instanceof RunError && cause.code === 'cancelled') return undefined;
      throw cause;
    });
    if (result === undefined) return Math.max(1, await isStopped());
    const figures = await everyRanks(trainer, rowFigures(batch, result.rows));
    costs.step(figures.length, result.numTokens);
    if (trainer.stepsDone === 1) checkFirst(figures);
    heldOut?.history.stepped(preferenceMetrics(figures, beta)['rewards/accuracies']);
    if (trainer.rank === 0) {
      const seconds = (performance.now() - started) / 1000;
      const row = metricRow(figures, result, trainer, beta, stepsPerEpoch, seconds);
      for (const { name, message } of watch.observe(pairRewards(figures, beta))) warn(name, message);
      onProgress({ phase: 'steps', done: trainer.stepsDone, total: totalSteps, row });
      yield row;
    }
  }
}

// Ranks on machines that see different files would train one model on two data sets.
async function checkSameRun(trainer: TrainerEngine, digest: string): Promise<void> {
  const all = await trainer.exchange(digest);
  const other = all.findIndex((theirs) => theirs !== all[0]);
  if (other > 0)
    throw trainer.rank === 0
      ? new UsageError(`expected the same records, model and settings on every rank, got others on rank ${other}`)
      : new RunError('peer', 'ranks differ');
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
    ...(result.rewardMean !== undefined && { delta: result.rewardMean }),
    grad_norm: result.gradNorm,
    learning_rate: result.learningRate,
    tokens_per_second: result.numTokens / seconds,
    pairs_per_second: rows.length / seconds,
    peak_memory_bytes: trainer.peakBytes(),
  };
}
