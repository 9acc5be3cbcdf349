// SPDX-License-Identifier: Apache-2.0
// Before a run: every row is made ready but for its pixels, so that a bad one does not end it half-way; stored references are checked; rows that are too
// long fail or are left out.
import type { RowSize } from '../../engine/train-requests.ts';
import type { Row } from '../../flow/stage.ts';
import type { ModelContext } from '../../model/context.ts';
import { UsageError } from '../../records/error.ts';
import { checkReference, type ReferenceSource } from './reference.ts';
import { weightNotes } from './row-weight.ts';
import { isPair, isTooLong, measureTrainRow, type RowOptions } from './rows.ts';

/** Rows to train on, and what decides the memory of each. */
export interface MeasuredRows {
  rows: Row[];
  sizes: RowSize[];
}

export interface MeasureOptions extends RowOptions {
  /** What happens to a row that does not fit the model's positions or --max-length. */
  onLong: 'fail' | 'drop';
  /** Undefined: any stored reference is taken. */
  referenceSource?: ReferenceSource;
  stop: AbortSignal;
  note(message: string): void;
  warn(message: string): void;
}

/** Throws RecordError and UsageError for what is wrong with a row, UsageError where none is left. */
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
  if (numDropped > 0) warn(`${numDropped} of ${all.length} records are too long and left out (--on-long drop)`);
  if (measured.rows.length === 0) throw new UsageError('expected at least one record that is not too long, got none');
  if (numUnverified > 0)
    warn(
      `${numUnverified} references were computed by version 0.1: texts and template are not verified (recompute them with precompute-ref)`,
    );
  const isEqual = ({ record: { chosen, rejected } }: Row) => [rejected ?? []].flat().some((text) => text === chosen);
  const numEqual = measured.rows.filter((row) => isPair(row, needs) && isEqual(row)).length;
  if (numEqual > 0)
    warn(
      `${numEqual} of ${measured.rows.length} records have equal chosen and rejected responses: such a pair teaches no preference`,
    );
  const isUndesirable = (row: Row) => needs.ignoresLabel && row.record.label === false && !isPair(row, needs);
  const numUndesirable = measured.rows.filter(isUndesirable).length;
  if (numUndesirable > 0)
    warn(
      `${numUndesirable} of ${measured.rows.length} records have label false, and their responses are learned all the same: sft does not read labels`,
    );
  return measured;
}

// Undefined for a row that is left out.
async function sizeOf(row: Row, options: MeasureOptions, context: ModelContext): Promise<RowSize | undefined> {
  try {
    return await measureTrainRow(row, options, context);
  } catch (cause) {
    if (options.onLong === 'drop' && isTooLong(cause)) return undefined;
    throw cause;
  }
}
