// SPDX-License-Identifier: Apache-2.0
// What an export format is. To add one: a file with an ExportFormat, and a line in index.ts.
import type { Row } from '../../flow/stage.ts';
import type { Example } from './example.ts';

export interface ExportFormat {
  /** What the file is for, as a fragment for --help. */
  summary: string;
  /** One row per line, or one JSON array. */
  layout: 'lines' | 'array';
  /** The format has no place for rejected answers: one row per record. */
  chosenOnly?: boolean;
  /** Fields of a record that a row may hold; others are counted. */
  holds: readonly string[];
  /** Images are named without their folders. */
  hasFileNamesOnly?: boolean;
  /** Columns that some rows may lack; all others must be the first row's. */
  optional?: readonly string[];
  /** The example in the format's form; the same example gives the same row. Throws RecordError. */
  row(example: Example, row: Row, isText: boolean): Record<string, unknown>;
}

/** A number that is written with a decimal point, so that readers that guess types from the first rows see a float. */
export class Float {
  readonly value: number;
  constructor(value: number) {
    this.value = value;
  }
}

/** A row as JSON, with a decimal point in the Floats that are its own members. */
export function formatRow(row: Record<string, unknown>): string {
  const floats: [string, Float][] = [];
  for (const key in row) if (row[key] instanceof Float) floats.push([key, row[key]]);
  if (floats.length === 0) return JSON.stringify(row);
  const rest = { ...row };
  for (const [key] of floats) rest[key] = undefined;
  const head = JSON.stringify(rest).slice(0, -1);
  const tail = floats.map(([key, { value }]) => `${JSON.stringify(key)}:${floatText(value)}`).join(',');
  return `${head}${head === '{' ? '' : ','}${tail}}`;
}

function floatText(value: number): string {
  const text = JSON.stringify(value);
  return /^-?\d+$/.test(text) ? `${text}.0` : text;
}
