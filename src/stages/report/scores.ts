// SPDX-License-Identifier: Apache-2.0
// Scores: the rows of eval, and charts of them against a parameter.
import { isObject } from '../../records/field.ts';
import type { Interval, JsonObject, RowSection, ScoreLine } from './data.ts';

/** Maximum rows in the tables. */
const MAX_LINES = 2000;

export class ScoreSection implements RowSection<ScoreLine[]> {
  readonly #scores: ScoreLine[] = [];

  take(run: string, row: JsonObject): boolean {
    if (typeof row.benchmark !== 'string' || !('split' in row)) return false;
    this.#scores.push({ ...row, run, benchmark: row.benchmark, split: String(row.split) });
    return true;
  }

  get all(): readonly ScoreLine[] {
    return this.#scores;
  }

  data(): ScoreLine[] {
    return this.#scores.slice(0, MAX_LINES);
  }

  get numLeftOut(): number {
    return Math.max(0, this.#scores.length - MAX_LINES);
  }
}

/** The 95 % interval of a score row. */
export function intervalOf({ ci95 }: JsonObject): Interval | undefined {
  return Array.isArray(ci95) && typeof ci95[0] === 'number' && typeof ci95[1] === 'number'
    ? [ci95[0], ci95[1]]
    : undefined;
}

/** The row's params: numbers, words, booleans by name. */
export function paramsOf({ params }: JsonObject): Record<string, string | number | boolean> {
  const entries = Object.entries(isObject(params) ? params : {});
  return Object.fromEntries(
    entries.filter((entry): entry is [string, string | number | boolean] =>
      ['string', 'number', 'boolean'].includes(typeof entry[1]),
    ),
  );
}
