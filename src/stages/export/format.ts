// SPDX-License-Identifier: Apache-2.0
// The interface of an export format. To add one: a file with an ExportFormat, and a line in index.ts.
import type { Row } from '../../flow/stage.ts';
import type { Example } from './example.ts';

export interface ExportFormat {
  /** Description of the file, as a fragment for --help. */
  summary: string;
  /** One row per line, or one JSON array. */
  layout: 'lines' | 'array';
  /** The format has no rejected responses: one row per record. */
  chosenOnly?: boolean;
  /** Fields of a record that a row may hold. Other fields are counted. */
  holds: readonly string[];
  /** Images are written without their folders. */
  hasFileNamesOnly?: boolean;
  /** Columns that some rows may lack; all others must be as in the first row. */
  optional?: readonly string[];
  /** Converts an example to a row, deterministically. Throws RecordError. */
  row(example: Example, row: Row, isText: boolean): Record<string, unknown>;
}

/** A number written with a decimal point, because some readers infer column types from the first rows. */
export class Float {
  readonly value: number;
  constructor(value: number) {
    this.value = value;
  }
}

/** A row as JSON, with a decimal point in its top-level Floats. */
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
