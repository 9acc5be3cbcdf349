// SPDX-License-Identifier: Apache-2.0
// Filters of pairs: responses too short or too long, lengths too different, or repetitive text.
import type { VprefRecord } from '../../records/record.ts';
import { PER_REJECTED } from './given.ts';

export interface Filters {
  /** Limits of each response, in characters. */
  minLength?: number;
  maxLength?: number;
  /** Maximum ratio of the longer to the shorter response, in characters. */
  maxLengthRatio?: number;
  /** Maximum share of repeated 4-grams of words in a response. */
  maxRepetition?: number;
}

/** Whether no filter is set. */
const passesAll = (filters: Filters) => Object.keys(filters).length === 0;

/** The row with the rejected responses that pass, or the reason if none does. */
export function filterRow(record: VprefRecord, filters: Filters): VprefRecord | { dropped: string } {
  if (passesAll(filters)) return record;
  const positive = record.chosen ?? record.response ?? '';
  const bad = responseFault(positive, filters);
  if (bad !== undefined) return { dropped: bad };
  if (record.chosen === undefined || record.rejected === undefined) return record;
  const faults = [record.rejected]
    .flat()
    .map((text) => responseFault(text, filters) ?? ratioFault(positive, text, filters));
  if (faults.every((fault) => fault === undefined)) return record;
  if (faults.every((fault) => fault !== undefined)) return { dropped: faults[0]! };
  return keepRejected(record, (index) => faults[index] === undefined);
}

/** The record with a subset of its rejected responses and their fields. */
function keepRejected(record: VprefRecord, keeps: (index: number) => boolean): VprefRecord {
  const kept = { ...record };
  for (const key of PER_REJECTED) {
    const value: unknown = record[key];
    if (Array.isArray(value)) Object.assign(kept, { [key]: value.filter((_, index) => keeps(index)) });
  }
  return kept;
}

function responseFault(text: string, { minLength, maxLength, maxRepetition }: Filters): string | undefined {
  if (minLength !== undefined && text.length < minLength) return 'too short';
  if (maxLength !== undefined && text.length > maxLength) return 'too long';
  return maxRepetition !== undefined && repetition(text) > maxRepetition ? 'repeats itself' : undefined;
}

function ratioFault(a: string, b: string, { maxLengthRatio }: Filters): string | undefined {
  if (maxLengthRatio === undefined) return undefined;
  const [short, long] = a.length < b.length ? [a.length, b.length] : [b.length, a.length];
  return long > maxLengthRatio * short ? 'lengths too different' : undefined;
}

const RUN_WORDS = 4;

/** Share of a text's 4-grams of words that occurred earlier in it, in [0, 1); 0 for fewer than two 4-grams. */
export function repetition(text: string): number {
  const words = text.toLowerCase().match(/\S+/g) ?? [];
  const numRuns = words.length - RUN_WORDS + 1;
  if (numRuns < 2) return 0;
  const runs = new Set(Array.from({ length: numRuns }, (_, at) => words.slice(at, at + RUN_WORDS).join(' ')));
  return 1 - runs.size / numRuns;
}
