// SPDX-License-Identifier: Apache-2.0
// The interface of a pairing rule. To add one: a file with a Rule, and a line in index.ts.

import type { Row } from '../../flow/stage.ts';
import type { Response, VprefRecord } from '../../records/record.ts';

/** How a response's scores are combined into one number. */
export interface Scoring {
  /** Metric -> weight in the sum. */
  metrics: Readonly<Record<string, number>>;
  /** Instead of metrics: minus the number of claims with P(yes) below `doubt`. */
  by?: 'claims';
  doubt?: number;
  /** Only annotations with this guide, judge and run; default: the mean of all. */
  guide?: string;
  judge?: string;
  run?: number;
}

/** Which of several best responses is chosen. */
export type Ties = 'first' | 'random' | 'drop';

export interface RuleOptions {
  scoring: Scoring;
  /** Minimum difference of the chosen and rejected scores; always above 0. */
  margin: number;
  ties: Ties;
  /** Rejected responses per pair; absent: one, and a pair per distorted view. */
  negatives?: number;
  /** gap: allowed band of the difference between chosen and rejected. */
  gap?: { low: number; high: number };
  /** gap: the source of a pair's weight. */
  weightBy?: 'gap';
  /** Views whose responses are rejected; every view when absent. */
  views?: readonly string[];
  /** Only responses with this label. */
  label?: string;
  /** Only responses that ended with the end token or a stop text. */
  finishedOnly: boolean;
  /** sft: the source of the response. */
  from: 'reference' | 'judge' | 'best';
  /** sft --from best: minimum score. */
  minScore?: number;
  /** kto: scores of at least this are desirable, lower ones undesirable; absent: best against those more than `margin` below. */
  threshold?: number;
  seed: number;
  /** Reproduce the published code's quirks. */
  faithful: boolean;
}

/** One output row: fields to set, and the suffix of its id if there are several. */
export interface Picked {
  /** Suffix of `id#suffix`; absent: the record keeps its id. */
  suffix?: number;
  fields: Partial<VprefRecord> & { pair: NonNullable<VprefRecord['pair']> };
}

/** Rows of a record under a rule, or the reason for none. `left` counts parts of a record that gave no row. */
export type Rule = (row: Row, options: RuleOptions, left: (reason: string) => void) => Picked[] | { dropped: string };

/** Usable responses with their index in the record; failed ones and other labels are excluded. */
export function usableResponses(record: VprefRecord, options: RuleOptions): { response: Response; index: number }[] {
  const { label, finishedOnly } = options;
  const usable: { response: Response; index: number }[] = [];
  const { responses = [] } = record;
  for (let index = 0; index < responses.length; index++) {
    const response = responses[index]!;
    const { finish_reason: reason } = response;
    if (reason === 'error' || (finishedOnly && reason !== undefined && reason !== 'stop')) continue;
    if (label === undefined || response.label === label) usable.push({ response, index });
  }
  return usable;
}
