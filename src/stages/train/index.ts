// SPDX-License-Identifier: Apache-2.0
// The training run: reads rows, yields one metric row per step, writes checkpoints.

import type { LossNeeds, TrainerEngine, TrainRow } from '../../engine/train-requests.ts';
import type { ModelContext } from '../../model/context.ts';
import { RunError } from '../../records/error.ts';
import type { MeasuredRows } from './measure.ts';
import type { EndRow, TrainOutput } from './metrics.ts';
import type { TrainOptions } from './options.ts';
import { type StartedRun, startRun } from './start.ts';
import { afterStep, beforeStep } from './steps.ts';

/**
 * Trains on `rows` until the last step or `stop` of any rank. On stop, abandons the current step, saves the state and returns the stop code;
 * else returns 0. Every rank takes its rows of each step. Only rank 0 yields metrics, and reads and writes files.
 */
export async function* train(
  measured: MeasuredRows,
  trainer: TrainerEngine,
  needs: LossNeeds,
  context: ModelContext,
  options: TrainOptions,
): AsyncGenerator<TrainOutput, number> {
  const { totalSteps } = options.settings;
  const isStopped = () => trainer.agree(options.stop.aborted ? (options.stopCode?.() ?? 1) : 0);
  const run = await startRun(measured, { trainer, needs, context, options, isStopped });
  if (run === undefined) return Math.max(1, await isStopped());
  let next: Promise<TrainRow[]> | undefined;
  const loadAhead = (step: number) => {
    next = step < totalSteps ? run.load(run.rowsOfStep(step)) : undefined;
    next?.catch(() => undefined);
  };
  let stopped: number | undefined;
  try {
    loadAhead(trainer.stepsDone);
    while (stopped === undefined) {
      stopped = yield* beforeStep(run);
      if (stopped !== undefined) break;
      const started = performance.now();
      const batch = await next!;
      // The next step's rows are prepared while this one computes.
      loadAhead(trainer.stepsDone + 1);
      const result = await trainer.step(batch, options.stop).catch(undefinedIfCancelled);
      if (result === undefined) stopped = Math.max(1, await isStopped());
      else yield* afterStep(run, batch, result, started);
    }
  } finally {
    // On any other end (an unreadable row, a loss that is not finite, a closed pipe), save the steps so far.
    // Saving takes all ranks, which a failure has parted.
    if (stopped === undefined && trainer.numRanks === 1) await run.save().catch(() => undefined);
  }
  await run.save();
  if (stopped > 0) return stopped;
  const end = await finish(run);
  if (end !== undefined && trainer.rank === 0) yield end;
  return stopped;
}

function undefinedIfCancelled(cause: unknown): undefined {
  if (!(cause instanceof RunError && cause.code === 'cancelled')) throw cause;
}

/** Writes the adapter, the best one or the last, and reports the end of the run. */
async function finish({ trainer, heldOut, costs, options }: StartedRun): Promise<EndRow | undefined> {
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
