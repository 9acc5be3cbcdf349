// SPDX-License-Identifier: Apache-2.0
// Evaluates held-out rows under the current model: the loss of a step over all of them, and a step's metrics under eval/. Every rank scores
// its share and receives all sums.

import type { LossNeeds, LossRow, TrainerEngine, TrainRow } from '../../engine/train-requests.ts';
import { count } from '../../records/count.ts';
import { RunError } from '../../records/error.ts';
import type { EvalMetrics } from './history.ts';
import { preferenceMetrics, rowFigures } from './metrics.ts';
import { rowsOfRank } from './order.ts';
import type { LoadRows } from './prepare.ts';
import { everyRanks } from './reference.ts';

export interface EvaluateOptions {
  /** Held-out rows. */
  numRows: number;
  load: LoadRows;
  needs: LossNeeds;
  beta: number;
  /** Rows that a rank scores together. */
  batch: number;
  /** The same on all ranks. */
  isStopped(): Promise<boolean>;
}

/** Undefined if the run was stopped meanwhile. */
export async function evaluate(trainer: TrainerEngine, options: EvaluateOptions): Promise<EvalMetrics | undefined> {
  const { numRows, needs, beta } = options;
  const scored = await scoreAll(trainer, options, true);
  if (scored === undefined) return undefined;
  const point = needs.referencePoint ? await referencePoint(trainer, options) : 0;
  if (point === undefined) return undefined;
  const loss = await trainer.meanLoss(scored, point);
  if (!Number.isFinite(loss))
    throw new RunError(
      'nonfinite',
      `the loss of the ${count(numRows, 'held-out record')} is not finite after step ${trainer.stepsDone}`,
    );
  const metrics = Object.entries(preferenceMetrics(scored, beta)).map(([name, value]) => [`eval/${name}`, value]);
  return { 'eval/loss': loss, ...Object.fromEntries(metrics) };
}

/** All rows with their sums, in order. */
async function scoreAll(
  trainer: TrainerEngine,
  { numRows, load, batch, isStopped }: EvaluateOptions,
  adapterOn: boolean,
): Promise<LossRow[] | undefined> {
  const { rank, numRanks } = trainer;
  const numbers = Uint32Array.from({ length: numRows }, (_, number) => number);
  const size = batch * numRanks;
  const loadRound = (begin: number) => load(rowsOfRank(numbers.subarray(begin, begin + size), rank, numRanks));
  const all: LossRow[] = [];
  let next = loadRound(0);
  for (let begin = 0; begin < numRows; begin += size) {
    const rows = await next;
    // Prepared while these are scored.
    next = loadRound(begin + size);
    next.catch(() => undefined);
    if (await isStopped()) return undefined;
    const sums = rows.length === 0 ? [] : await trainer.score(rows, adapterOn);
    const own = rowFigures(rows, sums).map((figures, index): LossRow => {
      const { label, weight } = rows[index]!;
      return { ...figures, label, ...(weight !== undefined && { weight }) };
    });
    all.push(...(await everyRanks(trainer, own)));
  }
  return all;
}

/** KTO's estimate: the mean log-ratio of each response to the next row's prompt, over all held-out rows; at least 0. */
async function referencePoint(trainer: TrainerEngine, options: EvaluateOptions): Promise<number | undefined> {
  const { numRows } = options;
  const mismatched = async (number: number): Promise<TrainRow> => {
    const [row, other] = await options.load([number, (number + 1) % numRows]);
    const { ids, scored } = other!.segments.find(({ branch }) => branch === 0)!;
    const segments = row!.segments.map((segment) => {
      if (segment.branch !== 0) return segment;
      const { scored: _own, ...kept } = segment;
      return { ...kept, ids, ...(scored && { scored }) };
    });
    return { ...row!, segments };
  };
  const load: LoadRows = (numbers) => Promise.all(Array.from(numbers, mismatched));
  const policy = await scoreAll(trainer, { ...options, load }, true);
  const reference = policy && (await scoreAll(trainer, { ...options, load }, false));
  if (policy === undefined || reference === undefined) return undefined;
  const sum = policy.reduce((total, row, index) => total + row.policy[0]! - reference[index]!.policy[0]!, 0);
  return Math.max(0, sum / numRows);
}
