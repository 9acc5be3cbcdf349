// SPDX-License-Identifier: Apache-2.0
// The response that people prefer.
import { RecordError } from '../../records/error.ts';
import { describeValue, type Place } from '../../records/field.ts';

/** The index of the preferred response from ranks, 0 is best: VL-RewardBench's human_ranking. Throws RecordError. */
export function preferredOf(ranking: unknown, at: Place, field: string): number {
  if (Array.isArray(ranking) && ranking.length === 2 && [...ranking].sort().join() === '0,1') return ranking.indexOf(0);
  throw new RecordError(at, field, 'the ranks of two answers, [0, 1] or [1, 0]', describeValue(ranking));
}
