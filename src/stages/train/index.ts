// SPDX-License-Identifier: Apache-2.0
// The training run: reads rows, yields one metric row per step, writes checkpoints.

import { mkdir } from 'node:fs/promises';
import type { LossNeeds, TrainerEngine, TrainRow } from '../../engine/train-requests.ts';
import type { ModelContext } from '../../model/context.ts';
import { restoreCheckpoint, saveCheckpoint } from './checkpoint.ts';
import { CostCount } from './cost.ts';
import { evaluate } from './evaluate.ts';
import { firstRewardsWarning } from './first-rewards.ts';
import { HeldOut } from './held-out.ts';
import { EvaluationHistory } from './history.ts';
import type { MeasuredRows } from './measure.ts';
import type { EndRow, RowFigures, TrainOutput, WarningRow } from './metrics.ts';
import type { TrainOptions } from './options.ts';
import { rowsOfRank, stepRows, trainingLength } from './order.ts';
import { checkpointToResume, checkSameRun, identityOf, planSteps, rowLoader } from './prepare.ts';
import { identityDigest } from './run-identity.ts';
import { Samples } from './samples.ts';
import { steps } from './steps.ts';

/**
 * Trains on `rows` until the last step or `stop` of any rank. On stop, saves the state and returns the stop code; else returns 0.
 * Every rank takes its rows of each step. Only rank 0 yields metrics, and reads and writes files.
 */
export async function* train(
  { rows, sizes }: MeasuredRows,
  trainer: TrainerEngine,
  needs: LossNeeds,
  context: ModelContext,
  options: TrainOptions,
): AsyncGenerator<TrainOutput, number> {
  const { dir, settings, batchSize, shuffle, stop, heldOut: held } = options;
  const { rank, numRanks } = trainer;
  const rowsOfAll = stepRows({ numRows: rows.length, batchSize, seed: settings.seed, shuffle });
  const rowsOfStep = (step: number) => rowsOfRank(rowsOfAll(step), rank, numRanks);
  const isStopped = () => trainer.agree(stop.aborted ? (options.stopCode?.() ?? 1) : 0);
  const warn = rank === 0 ? options.warn : () => undefined;
  if (rank === 0) await mkdir(dir, { recursive: true });
  const run = await identityOf(rows, context, options);
  const digest = identityDigest(run);
  await checkSameRun(trainer, digest);
  const from = await checkpointToResume(trainer, options);

  await planSteps(sizes, rowsOfStep, trainer, options);

  // Before restoring: the reference is the model as the run first saw it.
  const loading = { trainer, needs, context, options, digest, isStopped };
  const withReference = await rowLoader(rows, 'reference.ndjson', loading);
  const loadHeldOut = withReference && held && (await rowLoader(held.rows, 'reference-eval.ndjson', loading));
  if (withReference === undefined || (held !== undefined && loadHeldOut === undefined))
    return Math.max(1, await isStopped());
  const { stepsPerEpoch } = trainingLength(rows.length, batchSize, 1);
  const warnings: WarningRow[] = [];
  const warnInRow = (name: string, message: string) => {
    warn(`${name}: ${message}`);
    warnings.push({ step: trainer.stepsDone, warning: name, message });
  };
  const pauses = { stepsPerEpoch, options, isStopped };
  const heldOut = loadHeldOut && heldOutOf(trainer, needs, loadHeldOut, { ...pauses, warn: warnInRow });
  const samples = samplesOf(context, pauses);
  const costs = new CostCount();
  if (from !== undefined) {
    const { history, cost } = await restoreCheckpoint(from, trainer, run);
    if (cost !== undefined) costs.restore(cost);
    if (history !== undefined) heldOut?.history.restore(history);
    options.note(`resuming after step ${trainer.stepsDone} (${from})`);
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
    const state = { run, history: heldOut?.history.state, cost: costs.cost };
    await saveCheckpoint(dir, trainer, state, options.keepCheckpoints);
    if (rank === 0) await heldOut?.prune();
    saved = trainer.stepsDone;
  };
  const isFirst = needs.reference && options.startsAtReference && trainer.stepsDone === 0;
  const checkFirst = (figures: RowFigures[]) => {
    const message = isFirst ? firstRewardsWarning(figures, context.engine.info.dtype) : undefined;
    if (message !== undefined) warnInRow('first-rewards', message);
  };
  const stepping = { costs, isStopped, save, stepsPerEpoch, checkFirst, heldOut, samples, warnings, warn: warnInRow };
  let stopped = 0;
  let isWhole = false;
  try {
    stopped = yield* steps(trainer, load, stepping, options);
    isWhole = true;
  } finally {
    // On any other end (an unreadable row, a loss that is not finite, a closed pipe), save the steps so far.
    // Saving takes all ranks, which a failure has parted.
    if (!isWhole && numRanks === 1) await save().catch(() => undefined);
  }
  await save();
  if (stopped > 0) return stopped;
  const end = await finish(trainer, heldOut, costs, options);
  if (end !== undefined && rank === 0) yield end;
  return stopped;
}

/** What evaluations and samples between steps need. */
interface Pauses {
  stepsPerEpoch: number;
  options: TrainOptions;
  isStopped(): Promise<number>;
}

function heldOutOf(
  trainer: TrainerEngine,
  needs: LossNeeds,
  load: (number: number) => Promise<TrainRow>,
  { stepsPerEpoch, options, isStopped, warn }: Pauses & { warn(name: string, message: string): void },
): HeldOut {
  const { dir, settings, batchSize } = options;
  const { rows, every, metric, patience } = options.heldOut!;
  const evaluation = {
    numRows: rows.length,
    load,
    needs,
    beta: settings.lossOptions.beta,
    batch: batchSize,
    isStopped: async () => (await isStopped()) > 0,
  };
  return new HeldOut(new EvaluationHistory(metric ?? 'eval/loss', patience), {
    dir,
    every: every ?? stepsPerEpoch,
    totalSteps: settings.totalSteps,
    stepsPerEpoch,
    keepsBest: metric !== undefined || patience > 0,
    numRows: rows.length,
    evaluate: () => evaluate(trainer, evaluation),
    warn,
  });
}

function samplesOf(context: ModelContext, { stepsPerEpoch, options, isStopped }: Pauses): Samples | undefined {
  const { dir, settings, samples } = options;
  if (samples === undefined) return undefined;
  return new Samples({
    dir,
    rows: samples.rows,
    every: samples.every ?? stepsPerEpoch,
    totalSteps: settings.totalSteps,
    seed: settings.seed,
    context,
    isStopped: async () => (await isStopped()) > 0,
  });
}

/** Writes the adapter, the best one or the last, and reports the end of the run. */
async function finish(
  trainer: TrainerEngine,
  heldOut: HeldOut | undefined,
  costs: CostCount,
  options: TrainOptions,
): Promise<EndRow | undefined> {
  if (!(await heldOut?.finish(trainer))) await trainer.save(options.dir, { state: false });
  const peakBytes = await trainer.agree(trainer.peakBytes());
  const end = heldOut?.endRow(trainer.stepsDone);
  options.onEnd?.({ ...costs.cost, ranks: trainer.numRanks, peakBytes, end });
  if (end !== undefined && trainer.rank === 0) options.note(endNote(end, options.dir));
  return end;
}

function endNote({ step, stop_reason, best_step, best_metric, best_value, kept_step }: EndRow, dir: string): string {
  const stopped = stop_reason === 'early-stop' ? `stopped early after step ${step}; ` : '';
  const last = kept_step === step ? '' : `; the last, step ${step}, is in its checkpoint`;
  return `${stopped}best by ${best_metric}: step ${best_step} (${best_value.toPrecision(4)}); ${dir} holds step ${kept_step}${last}`;
}
