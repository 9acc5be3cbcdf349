// SPDX-License-Identifier: Apache-2.0
// A stage: an async generator from rows to results. It uses no flags, streams or process state.
import { BAD_RECORD, RecordError } from '../records/error.ts';
import type { InputText } from '../records/parse-record.ts';
import type { VprefRecord } from '../records/record.ts';

/** A record with its place in the input. */
export interface Row {
  record: VprefRecord;
  /** File name, or "stdin". */
  source: string;
  /** 1-based line. */
  line: number;
  /** The line's text; unchanged fields are written as in it. */
  input?: InputText;
}

/** The result of one input row. Exactly one per row, in input order. */
export interface RowResult {
  row: Row;
  /** Output records, 0..n; when n > 1 their ids are `id#k` and their group the input's id. */
  records: VprefRecord[];
  /** The reason if no record came out, in a few words for the summary ("equal answers"); not a failure. */
  dropped?: string;
  /**
   * The row failed. --on-error decides whether the run stops, or the row is skipped, or kept with `error`: as records[0]
   * if there is one, else unchanged. `partial`: part of the work succeeded, so a kept record has no `error`.
   */
  error?: { code: string; message: string; cause?: unknown; partial?: boolean };
}

/** A stage. Throws only for failures that must stop the run; a failed row is a result with `error`. */
export interface Stage {
  (rows: AsyncIterable<Row>): AsyncIterable<RowResult>;
  /** The same for one row, if each result depends on its row only, and needs no waiting. */
  ofRow?(row: Row): RowResult;
}

/** Stage from a function of one record. A RecordError or RunError it throws becomes the row's `error`. */
export function mapRows(fn: (row: Row) => VprefRecord[] | { dropped: string }): Stage {
  const ofRow = (row: Row): RowResult => {
    try {
      const out = fn(row);
      return Array.isArray(out) ? { row, records: out } : { row, records: [], ...out };
    } catch (cause) {
      return { row, records: [], error: rowError(cause) };
    }
  };
  async function* stage(rows: AsyncIterable<Row>) {
    for await (const row of rows) yield ofRow(row);
  }
  return Object.assign(stage, { ofRow });
}

/** Stage from an async function of one record, `concurrency` rows at a time, results in input order. */
export function mapRowsConcurrently(
  fn: (row: Row) => Promise<VprefRecord[] | { dropped: string }>,
  concurrency: number,
): Stage {
  return async function* (rows) {
    const pending: Promise<RowResult>[] = [];
    const settle = (row: Row) =>
      fn(row).then(
        (out): RowResult => (Array.isArray(out) ? { row, records: out } : { row, records: [], ...out }),
        (cause): RowResult => ({ row, records: [], error: rowError(cause) }),
      );
    for await (const row of rows) {
      pending.push(settle(row));
      if (pending.length >= concurrency) yield await pending.shift()!;
    }
    while (pending.length > 0) yield await pending.shift()!;
  };
}

/** The row's failure from a thrown error; programming errors (TypeError and the like) are rethrown. */
export function rowError(cause: unknown): NonNullable<RowResult['error']> {
  if (!(cause instanceof Error) || cause instanceof TypeError || cause instanceof ReferenceError) throw cause;
  if (cause instanceof RecordError) return { code: BAD_RECORD, message: cause.message, cause };
  const code = 'code' in cause && typeof cause.code === 'string' ? cause.code : cause.name;
  return { code, message: cause.message, cause };
}
