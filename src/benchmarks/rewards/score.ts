// SPDX-License-Identifier: Apache-2.0
// Implicit rewards of preference pairs from stored log-probs: TRL's metrics over a whole file.
// reward = beta x (policy - reference log-prob of the response).  Source: Rafailov et al. 2023 (2305.18290) eq. 5.

import { RecordError } from '../../records/error.ts';
import { describeValue, type Place } from '../../records/field.ts';
import type { VprefRecord } from '../../records/record.ts';
import { isRecord } from '../scoring/answers.ts';
import { type EvalInput, type Evaluation, finite, groupBy, type ScoreRow } from '../scoring/score-row.ts';
import { clusteredInterval, meanOf } from '../scoring/statistics.ts';

interface Pair {
  id: string;
  cluster: string;
  source: string;
  chosen: number;
  /** One value per rejected response. */
  rejected: number[];
  chosenLogps: number;
  rejectedLogps: number[];
}

/** Scores records with policy_* and ref_* log-probs; `score` is the reward accuracy in percent. */
export function scoreRewards({ answers: files, options }: EvalInput): Evaluation {
  let failed = 0;
  const pairs = files.flatMap((file) =>
    file.rows.flatMap(({ value, at }) => {
      if ((value as VprefRecord).error !== undefined) {
        failed += 1;
        return [];
      }
      return [readPair(value, at, options.beta)];
    }),
  );
  const sources = groupBy(pairs, (pair) => pair.source);
  const parts = [...(sources.size > 1 ? sources : []), ['all', pairs] as const];
  return {
    rows: parts.map(([split, part]) => ({
      ...rewardRow(split, part, options.beta),
      failed: split === 'all' ? failed : 0,
    })),
    items: pairs.map((pair) => ({
      model: '',
      split: pair.source,
      id: pair.id,
      cluster: pair.cluster,
      value: accuracyOf(pair),
    })),
    notes: [],
    failed,
  };
}

/** Share of the rejected responses with a reward below the chosen one's. */
function accuracyOf({ chosen, rejected }: Pair): number {
  return meanOf(rejected.map((reward) => +(chosen > reward)));
}

function rewardRow(split: string, pairs: Pair[], beta: number): ScoreRow {
  const mean = (figure: (pair: Pair) => number) => finite(meanOf(pairs.map(figure)));
  const margin = ({ chosen, rejected }: Pair) => chosen - meanOf(rejected);
  return {
    benchmark: 'rewards',
    split,
    n: pairs.length,
    score: mean((pair) => 100 * accuracyOf(pair)),
    'rewards/chosen': mean((pair) => pair.chosen),
    'rewards/rejected': mean((pair) => meanOf(pair.rejected)),
    'rewards/margins': mean(margin),
    'rewards/accuracies': mean(accuracyOf),
    'logps/chosen': mean((pair) => pair.chosenLogps),
    'logps/rejected': mean((pair) => meanOf(pair.rejectedLogps)),
    // The DPO loss; with several rejected responses SeVa's softmax form, which equals it for one.
    loss: mean(({ chosen, rejected }) =>
      Math.log1p(rejected.reduce((sum, reward) => sum + Math.exp(reward - chosen), 0)),
    ),
    beta,
    ...clusteredInterval(
      pairs.map((pair) => ({ cluster: pair.cluster, sums: [100 * accuracyOf(pair), 1] })),
      ([sum, count]) => sum! / count!,
      [0, 100],
    ),
  };
}

function readPair(value: Record<string, unknown>, at: Place, beta: number): Pair {
  const record = value as VprefRecord;
  if (!isRecord(value)) throw new RecordError(at, 'prompt', 'a record', 'a row of another kind');
  const one = (field: string) => {
    const number = value[field];
    if (typeof number === 'number') return number;
    const stage = field.startsWith('policy') ? 'score' : 'precompute-ref';
    throw new RecordError(at, field, `a log-prob (written by ${stage})`, describeValue(number));
  };
  const several = (field: string) => {
    const numbers = value[field];
    if (Array.isArray(numbers) && numbers.length > 0 && numbers.every((number) => typeof number === 'number'))
      return numbers as number[];
    return [one(field)];
  };
  const policy = several('policy_rejected_logps');
  const ref = several('ref_rejected_logps');
  if (policy.length !== ref.length)
    throw new RecordError(
      at,
      'ref_rejected_logps',
      `${policy.length} log-probs, as in policy_rejected_logps`,
      String(ref.length),
    );
  const chosenLogps = one('policy_chosen_logps');
  return {
    id: record.id,
    cluster: record.images?.[0] ?? record.group ?? record.id,
    source: record.source ?? '',
    chosen: beta * (chosenLogps - one('ref_chosen_logps')),
    rejected: policy.map((logps, k) => beta * (logps - ref[k]!)),
    chosenLogps,
    rejectedLogps: policy,
  };
}
