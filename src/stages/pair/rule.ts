// SPDX-License-Identifier: Apache-2.0
// What a pairing rule is. To add one: a file with a Rule, and a line in index.ts.

import type { Row } from '../../flow/stage.ts';
import type { Response, VprefRecord } from '../../records/record.ts';

/** How a response's scores become one number. */
export interface Scoring {
  /** Metric -> weight in the sum. */
  metrics: Readonly<Record<string, number>>;
  /** In place of metrics: minus the number of claims whose P(yes) is below `doubt`. */
  by?: 'claims';
  doubt?: number;
  /** Only annotations with this guide, by this judge, of this run; all of them, averaged, when absent. */
  guide?: string;
  judge?: string;
  run?: number;
}

/** Which of several best responses is chosen. */
export type Ties = 'first' | 'random' | 'drop';

export interface RuleOptions {
  scoring: Scoring;
  /** How much better chosen must score than rejected; more than 0 in any case. */
  margin: number;
  ties: Ties;
  /** Rejected responses of a pair; absent: one, and a pair for each distorted view. */
  negatives?: number;
  /** gap: how far below the chosen response a rejected one may lie. */
  gap?: { low: number; high: number };
  /** gap: what becomes the weight of a pair. */
  weightBy?: 'gap';
  /** Views whose responses are rejected; every view when absent. */
  views?: readonly string[];
  /** Only responses with this label. */
  label?: string;
  /** Only responses that ended by themselves. */
  finishedOnly: boolean;
  /** sft: where the response comes from. */
  from: 'reference' | 'judge' | 'best';
  /** sft --from best: least score. */
  minScore?: number;
  /** kto: scores from here on are desirable, lower ones not; absent: best against more than `margin` below it. */
  threshold?: number;
  seed: number;
  /** Keep the quirks of the published code. */
  faithful: boolean;
}

/** What one record is made into: fields to set, and the suffix of its id when there are several. */
export interface Picked {
  /** Place for `id#suffix`; absent: the record keeps its id. */
  suffix?: number;
  fields: Partial<VprefRecord> & { pair: NonNullable<VprefRecord['pair']> };
}

/** Rows of a record under a rule, or why there is none. `left` counts parts of a record that gave no row. */
export type Rule = (row: Row, options: RuleOptions, left: (reason: string) => void) => Picked[] | { dropped: string };

/** Responses that may take part: with their place in the record, failed ones and other labels left out. */
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
