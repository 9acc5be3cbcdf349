// SPDX-License-Identifier: Apache-2.0
// The steps of a run, with evaluations, samples and checkpoints between them.
import type { StepResult, TrainerEngine, TrainRow } from '../../engine/train-requests.ts';
import { RunError } from '../../records/error.ts';
import { CollapseWatch } from './collapse.ts';
import type { CostCount } from './cost.ts';
import type { HeldOut } from './held-out.ts';
import {
  type MetricRow,
  pairRewards,
  preferenceMetrics,
  type RowFigures,
  rowFigures,
  type TrainOutput,
  type WarningRow,
} from './metrics.ts';
import type { TrainOptions } from './options.ts';
import { everyRanks } from './reference.ts';
import type { Samples } from './samples.ts';

export interface Stepping {
  /** The stop code that all ranks agree on, 0 to continue. */
  isStopped(): Promise<number>;
  save(): Promise<void>;
  stepsPerEpoch: number;
  /** Checks the rewards before any update. */
  checkFirst(figures: RowFigures[]): void;
  costs: CostCount;
  heldOut: HeldOut | undefined;
  samples: Samples | undefined;
  /** Warning rows since the last row; `warn` adds one. */
  warnings: WarningRow[];
  warn(name: string, message: string): void;
}

/** Runs steps until the last one, or until a rank receives a stop, which abandons the current step. Returns the stop code. */
export async function* steps(
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
    // Prepare the next step's rows while this one computes.
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
