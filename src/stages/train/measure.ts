// SPDX-License-Identifier: Apache-2.0
// Before a run, prepares every row without pixels, so a bad row cannot end the run half-way. Checks stored references. Rows that are too
// long fail or are dropped.

import type { RowSize } from '../../engine/train-requests.ts';
import type { Row } from '../../flow/stage.ts';
import type { ModelContext } from '../../model/context.ts';
import { count } from '../../records/count.ts';
import { UsageError } from '../../records/error.ts';
import { checkReference, type ReferenceSource } from './reference.ts';
import { weightNotes } from './row-weight.ts';
import { isPair, isTooLong, measureTrainRow, type RowOptions } from './rows.ts';

/** Rows to train on, and their sizes for the memory plan. */
export interface MeasuredRows {
  rows: Row[];
  sizes: RowSize[];
}

export interface MeasureOptions extends RowOptions {
  /** Whether a row longer than the model's positions or --max-length fails or is dropped. */
  onLong: 'fail' | 'drop';
  /** Undefined: accept any stored reference. */
  referenceSource?: ReferenceSource;
  stop: AbortSignal;
  note(message: string): void;
  warn(message: string): void;
}

/** Throws RecordError and UsageError for an invalid row, UsageError if no row is left. */
export async function measureRows(
  all: readonly Row[],
  options: MeasureOptions,
  context: ModelContext,
): Promise<MeasuredRows> {
  const { referenceSource, stop, warn, needs } = options;
  if (all.length === 0) throw new UsageError('expected at least one record to train on, got none');
  const measured: MeasuredRows = { rows: [], sizes: [] };
  let numUnverified = 0;
  for (const row of all) {
    stop.throwIfAborted();
    const size = await sizeOf(row, options, context);
    if (size === undefined) continue;
    if (referenceSource !== undefined)
      numUnverified += (await checkReference(row, referenceSource, needs, context)) ? 0 : 1;
    measured.rows.push(row);
    measured.sizes.push(size);
  }
  for (const message of weightNotes(measured.rows, needs)) options.note(message);
  const numDropped = all.length - measured.rows.length;
  if (numDropped > 0)
    warn(`${count(numDropped, 'record is', 'records are')} too long and left out, of ${all.length} (--on-long drop)`);
  if (measured.rows.length === 0) throw new UsageError('expected at least one record that is not too long, got none');
  if (numUnverified > 0)
    warn(
      `${count(numUnverified, 'reference was', 'references were')} computed by version 0.1: texts and template are not verified (recompute them with precompute-ref)`,
    );
  const isEqual = ({ record: { chosen, rejected } }: Row) => [rejected ?? []].flat().some((text) => text === chosen);
  const numEqual = measured.rows.filter((row) => isPair(row, needs) && isEqual(row)).length;
  if (numEqual > 0)
    warn(
      `${count(numEqual, 'record has', 'records have')} equal chosen and rejected responses, of ${measured.rows.length}: such a pair teaches no preference`,
    );
  const isUndesirable = (row: Row) => needs.ignoresLabel && row.record.label === false && !isPair(row, needs);
  const numUndesirable = measured.rows.filter(isUndesirable).length;
  if (numUndesirable > 0)
    warn(
      `${count(numUndesirable, 'record has', 'records have')} label false, of ${measured.rows.length}: sft does not read labels, and trains on these responses too`,
    );
  return measured;
}

// Undefined for a dropped row.
async function sizeOf(row: Row, options: MeasureOptions, context: ModelContext): Promise<RowSize | undefined> {
  try {
    return await measureTrainRow(row, options, context);
  } catch (cause) {
    if (options.onLong === 'drop' && isTooLong(cause)) return undefined;
    throw cause;
  }
}
