// SPDX-License-Identifier: Apache-2.0
// Filters that need all pairs: balance between chosen and rejected, and a maximum number of pairs.

import type { RowResult } from '../../flow/stage.ts';
import { randomStream } from '../../records/random.ts';
import type { VprefRecord } from '../../records/record.ts';
import { type Limit, limitCandidates } from '../import/select.ts';
import { ShortAnswerCounter, shortAnswer } from './short-answer-bias.ts';

export interface WholeFilters {
  /** Drop pairs until no short answer is chosen significantly more often than rejected. */
  balance: boolean;
  /** Maximum number of pairs, per source or in total. */
  limits: readonly Limit[];
  seed: number;
}

/** The results without the dropped pairs. Holds all results in memory. */
export async function* filterWhole(
  results: AsyncIterable<RowResult>,
  filters: WholeFilters,
): AsyncGenerator<RowResult> {
  const held: RowResult[] = [];
  for await (const result of results) held.push(result);
  const gone = new Map<VprefRecord, string>();
  if (filters.balance) markSurplus(held, filters.seed, gone);
  if (filters.limits.length > 0) markOverLimit(held, filters, gone);
  for (const result of held) yield without(result, gone);
}

function without(result: RowResult, gone: ReadonlyMap<VprefRecord, string>): RowResult {
  const first = result.records[0];
  const records = result.records.filter((record) => !gone.has(record));
  if (first === undefined || records.length === result.records.length) return result;
  return records.length > 0 ? { ...result, records } : { ...result, records, dropped: gone.get(first)! };
}

/** Marks pairs that choose a biased answer and reject another, as many as the bias requires. */
function markSurplus(held: readonly RowResult[], seed: number, gone: Map<VprefRecord, string>): void {
  const pairs = held.flatMap(({ records }) => records).filter(({ chosen }) => chosen !== undefined);
  // Each round balances one answer. A pair of two biased answers changes both counts, so count again.
  for (;;) {
    const left = pairs.filter((pair) => !gone.has(pair));
    const counter = new ShortAnswerCounter();
    for (const pair of left) counter.add(pair);
    const bias = counter.biases()[0];
    if (bias === undefined) return;
    const candidates = left.filter(
      ({ chosen, rejected }) =>
        shortAnswer(chosen!) === bias.answer && ![rejected!].flat().some((text) => shortAnswer(text) === bias.answer),
    );
    if (candidates.length === 0) return;
    const keyed = candidates.map((pair) => ({ pair, key: randomStream(seed, pair.id, 'pair/balance').nextFloat() }));
    keyed.sort((a, b) => a.key - b.key);
    for (const { pair } of keyed.slice(0, bias.chosen - bias.rejected)) gone.set(pair, 'balance');
  }
}

function markOverLimit(
  held: readonly RowResult[],
  { limits, seed }: WholeFilters,
  gone: Map<VprefRecord, string>,
): void {
  const candidates = held
    .flatMap(({ records }) => records)
    .filter((record) => !gone.has(record))
    .map((record) => ({ record, id: record.id, source: record.source?.slice(record.source.lastIndexOf('/') + 1) }));
  const draw = limitCandidates({ limits, limitDialogues: false, seed });
  for (const candidate of candidates) draw.add(candidate);
  const cut = draw.cut();
  for (const candidate of candidates) if (cut(candidate) === undefined) gone.set(candidate.record, 'over the limit');
}
