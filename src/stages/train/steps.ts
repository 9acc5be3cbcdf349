// SPDX-License-Identifier: Apache-2.0
// Around a step: evaluation, samples and checkpoint before it, its metrics and warnings after it.
import type { StepResult, TrainRow } from '../../engine/train-requests.ts';
import { firstRewardsWarning } from './first-rewards.ts';
import {
  type MetricRow,
  pairRewards,
  preferenceMetrics,
  type RowFigures,
  rowFigures,
  type TrainOutput,
} from './metrics.ts';
import { everyRanks } from './reference.ts';
import type { StartedRun } from './start.ts';

/** Does what is due before the next step. Returns the stop code if none follows: 0 at the end of the run. */
export async function* beforeStep(run: StartedRun): AsyncGenerator<TrainOutput, number | undefined> {
  const { trainer, heldOut, samples, isStopped } = run;
  const { settings, saveEvery } = run.options;
  if (heldOut?.isDue(trainer.stepsDone)) {
    const row = await heldOut.run(trainer);
    if (row === undefined) return Math.max(1, await isStopped());
    if (trainer.rank === 0) yield row;
  }
  if (trainer.rank === 0) yield* run.warnings.splice(0);
  const isLast = heldOut?.history.isOver === true;
  if (samples?.isDue(trainer.stepsDone, isLast) && !(await samples.run(trainer))) return Math.max(1, await isStopped());
  if (saveEvery > 0 && trainer.stepsDone > 0 && trainer.stepsDone % saveEvery === 0) await run.save();
  if (trainer.stepsDone >= settings.totalSteps || isLast) return 0;
  return (await isStopped()) || undefined;
}

/** Records what a step of `batch` has shown. `started`: when it did, by performance.now(). */
export async function* afterStep(
  run: StartedRun,
  batch: readonly TrainRow[],
  result: StepResult,
  started: number,
): AsyncGenerator<TrainOutput, void> {
  const { trainer, context, options, watch, costs, heldOut, warn } = run;
  const { settings, onProgress } = options;
  const { beta } = settings.lossOptions;
  const figures = await everyRanks(trainer, rowFigures(batch, result.rows));
  costs.step(figures.length, result.numTokens);
  if (run.startsAtReference && trainer.stepsDone === 1) {
    const message = firstRewardsWarning(figures, context.engine.info.dtype);
    if (message !== undefined) warn('first-rewards', message);
  }
  heldOut?.history.stepped(preferenceMetrics(figures, beta)['rewards/accuracies']);
  if (trainer.rank !== 0) return;
  if (settings.totalSteps === 1 && settings.lr !== 0 && result.learningRate === 0)
    options.note('the only step is a warm-up step, of learning rate 0: nothing is learned (--warmup-steps 0)');
  const row = metricRow(run, figures, result, (performance.now() - started) / 1000);
  for (const { name, message } of watch.observe(pairRewards(figures, beta))) warn(name, message);
  onProgress({ phase: 'steps', done: trainer.stepsDone, total: settings.totalSteps, row });
  yield row;
}

function metricRow(
  { trainer, stepsPerEpoch, options }: StartedRun,
  rows: readonly RowFigures[],
  result: StepResult,
  seconds: number,
): MetricRow {
  return {
    step: trainer.stepsDone,
    epoch: trainer.stepsDone / stepsPerEpoch,
    loss: result.loss,
    ...preferenceMetrics(rows, options.settings.lossOptions.beta),
    ...(result.rewardMean !== undefined && { delta: result.rewardMean }),
    grad_norm: result.gradNorm,
    learning_rate: result.learningRate,
    tokens_per_second: result.numTokens / seconds,
    pairs_per_second: rows.length / seconds,
    peak_memory_bytes: trainer.peakBytes(),
  };
}
