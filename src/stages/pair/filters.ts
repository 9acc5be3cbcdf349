// SPDX-License-Identifier: Apache-2.0
// Responses that are not worth learning from: too short or long, one much longer than the other, or going in circles.
import type { VprefRecord } from '../../records/record.ts';
import { PER_REJECTED } from './given.ts';

export interface Filters {
  /** Characters of each response. */
  minLength?: number;
  maxLength?: number;
  /** Characters of the longer response over those of the shorter. */
  maxLengthRatio?: number;
  /** Share of a response's 4-word runs that it has said before. */
  maxRepetition?: number;
}

/** Whether nothing is filtered. */
const passesAll = (filters: Filters) => Object.keys(filters).length === 0;

/** The row with the rejected responses that pass, or why none does. */
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

/** The record with some of its several rejected responses and what belongs to them. */
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

/** Share of a text's runs of four words that stood in it before, in [0, 1); 0 for fewer than two runs. */
export function repetition(text: string): number {
  const words = text.toLowerCase().match(/\S+/g) ?? [];
  const numRuns = words.length - RUN_WORDS + 1;
  if (numRuns < 2) return 0;
  const runs = new Set(Array.from({ length: numRuns }, (_, at) => words.slice(at, at + RUN_WORDS).join(' ')));
  return 1 - runs.size / numRuns;
}
