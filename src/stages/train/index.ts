// SPDX-License-Identifier: Apache-2.0
// The training run: reads rows, yields one metric row per step, writes checkpoints.

import { mkdir } from 'node:fs/promises';
import type { LossNeeds, TrainerEngine, TrainRow } from '../../engine/train-requests.ts';
import type { Row } from '../../flow/stage.ts';
import type { ModelContext } from '../../model/context.ts';
import { count } from '../../records/count.ts';
import { RunError, UsageError } from '../../records/error.ts';
import { latestCheckpoint, restoreCheckpoint, saveCheckpoint } from './checkpoint.ts';
import { CostCount } from './cost.ts';
import { evaluate } from './evaluate.ts';
import { firstRewardsWarning } from './first-rewards.ts';
import { HeldOut } from './held-out.ts';
import { EvaluationHistory } from './history.ts';
import type { MeasuredRows } from './measure.ts';
import { planMemory } from './memory.ts';
import type { EndRow, RowFigures, TrainOutput, WarningRow } from './metrics.ts';
import type { TrainOptions } from './options.ts';
import { rowsOfRank, stepRows, trainingLength } from './order.ts';
import { computeReference } from './reference.ts';
import { prepareTrainRow, referenceSums } from './rows.ts';
import { identityDigest, recordsDigest, renderingSettings, runIdentity } from './run-identity.ts';
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
  const { dtype, quantize } = context.engine.info;
  const weights = { ...(dtype !== 'f32' && { dtype }), ...(quantize !== 'none' && { quantize }) };
  const others = { batchSize, shuffle, lossOn, initAdapter, ...weights, ...rendering, ...evaluation, ...answered };
  const run = runIdentity(rows, settings, others, context.fingerprint);
  const digest = identityDigest(run);
  await checkSameRun(trainer, digest);
  const latest = rank === 0 ? await latestCheckpoint(dir) : undefined;
  if (!options.resume && latest !== undefined)
    throw new UsageError(
      `-o ${dir}: holds checkpoints of another run; rerun with --resume, or choose another directory`,
    );
  const from = (await trainer.exchange(latest ?? ''))[0] || undefined;

  const plan = await planMemory(sizes, rowsOfStep, settings.totalSteps, trainer);
  options.note(`${count(rows.length, 'record')}, ${count(settings.totalSteps, 'step')}; ${trainer.memoryPlan()}`);
  if (plan.activationBytes > plan.budget)
    warn('the activations may not fit in the free memory; a smaller --batch-tokens needs less');

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
    // On any other end (an unreadable row, a loss that is not finite, a closed pipe), save the steps so far.
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

// Ranks that see different files would train one model on different data.
async function checkSameRun(trainer: TrainerEngine, digest: string): Promise<void> {
  const all = await trainer.exchange(digest);
  const other = all.findIndex((theirs) => theirs !== all[0]);
  if (other > 0)
    throw trainer.rank === 0
      ? new UsageError(`expected the same records, model and settings on every rank, got others on rank ${other}`)
      : new RunError('peer', 'ranks differ');
}
