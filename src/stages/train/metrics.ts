// SPDX-License-Identifier: Apache-2.0
// One row per step, with trl's metric names.
import type { RowSums, TrainRow } from '../../engine/train-requests.ts';
import type { PairReward } from './collapse.ts';
import type { EvalMetric, EvalMetrics } from './history.ts';

export interface MetricRow {
  step: number;
  epoch: number;
  loss: number;
  'rewards/chosen'?: number;
  'rewards/rejected'?: number;
  'rewards/margins'?: number;
  'rewards/accuracies'?: number;
  'logps/chosen'?: number;
  'logps/rejected'?: number;
  /** bco: the mean of all rewards so far. */
  delta?: number;
  grad_norm: number;
  learning_rate: number;
  tokens_per_second: number;
  pairs_per_second: number;
  peak_memory_bytes: number;
}

/** Held-out metrics after a step; 0: before the first. */
export interface EvalRow extends EvalMetrics {
  step: number;
  epoch: number;
  'eval/best_step': number;
  'eval/seconds': number;
}

/** The last row of a run with held-out rows. */
export interface EndRow {
  step: number;
  stop_reason: 'last-step' | 'early-stop';
  best_step: number;
  best_metric: EvalMetric;
  best_value: number;
  /** The step whose state the output directory holds. */
  kept_step: number;
}

/** A warning about the run, with advice. */
export interface WarningRow {
  step: number;
  warning: string;
  message: string;
}

export type TrainOutput = MetricRow | EvalRow | EndRow | WarningRow;

/** The inputs of a row's metrics. */
export type RowFigures = Pick<TrainRow, 'numRejected' | 'ref' | 'beta'> & RowSums;

export function rowFigures(rows: readonly TrainRow[], sums: readonly RowSums[]): RowFigures[] {
  return rows.map(({ numRejected, ref, beta }, index) => ({
    numRejected,
    ...(ref && { ref }),
    ...(beta !== undefined && { beta }),
    ...sums[index]!,
  }));
}

/** The rewards of a step's pairs: beta x (policy - reference) of the chosen and, averaged, of the rejected responses. In reference-free losses the reference is 0. */
export function pairRewards(rows: readonly RowFigures[], beta: number): PairReward[] {
  return rows.flatMap((row) => {
    if (row.numRejected === 0) return [];
    const { policy, numTokens } = row;
    const reward = (branch: number) => (row.beta ?? beta) * (policy[branch]! - (row.ref?.[branch] ?? 0));
    const rejected = Array.from({ length: row.numRejected }, (_, k) => k + 1);
    return {
      chosenReward: reward(0),
      rejectedReward: mean(rejected.map(reward)),
      numChosenTokens: numTokens[0]!,
      numRejectedTokens: mean(rejected.map((branch) => numTokens[branch]!)),
    };
  });
}

/** Share of (chosen, rejected) pairs with the larger chosen reward, averaged over rows. */
function accuracy(rows: readonly RowFigures[]): number {
  return mean(
    rows.map((row) => {
      const { policy } = row;
      const ratio = (branch: number) => policy[branch]! - (row.ref?.[branch] ?? 0);
      return mean(Array.from({ length: row.numRejected }, (_, k) => (ratio(0) > ratio(k + 1) ? 1 : 0)));
    }),
  );
}

/** Reward and log-probability figures of the pairs of a step; the log-probability of its responses if there are none. */
export function preferenceMetrics(rows: readonly RowFigures[], beta: number): Partial<MetricRow> {
  const withRejected = rows.filter(({ numRejected }) => numRejected > 0);
  const chosenLogps = mean((withRejected.length > 0 ? withRejected : rows).map(({ policy }) => policy[0]!));
  const pairs = pairRewards(withRejected, beta);
  if (pairs.length === 0) return { 'logps/chosen': chosenLogps };
  const chosen = mean(pairs.map((pair) => pair.chosenReward));
  const rejected = mean(pairs.map((pair) => pair.rejectedReward));
  return {
    'rewards/chosen': chosen,
    'rewards/rejected': rejected,
    'rewards/margins': chosen - rejected,
    'rewards/accuracies': accuracy(withRejected),
    'logps/chosen': chosenLogps,
    'logps/rejected': mean(withRejected.map((row) => mean(row.policy.slice(1, 1 + row.numRejected)))),
  };
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}
