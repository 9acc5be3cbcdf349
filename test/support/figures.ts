// SPDX-License-Identifier: Apache-2.0
// Rows of `eval` held against figures that were worked out by hand.
import assert from 'node:assert/strict';
import type { ScoreRow } from '../../src/benchmarks/scoring/score-row.ts';

/** The row of a split, of a model where there are several. */
export function rowOf(rows: readonly ScoreRow[], split = 'all', model?: string): ScoreRow {
  const row = rows.find((row) => row.split === split && (model === undefined || row.model === model));
  assert.ok(row, `a row of ${split}`);
  return row;
}

/** Equal but for the rounding of the last digits. */
export function near(got: unknown, expected: number, name = ''): void {
  assert.ok(Math.abs(Number(got) - expected) < 1e-12, `${name}: expected ${expected}, got ${got}`);
}

export function assertFigures(row: ScoreRow, expected: Record<string, number | null>): void {
  for (const [name, value] of Object.entries(expected))
    if (value === null) assert.equal(row[name], null, name);
    else near(row[name], value, name);
}
