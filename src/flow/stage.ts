// SPDX-License-Identifier: Apache-2.0
// A stage: an async generator from rows to results. It knows no flags, no streams, no process.
import { BAD_RECORD, RecordError } from '../records/error.ts';
import type { InputText } from '../records/parse-record.ts';
import type { VprefRecord } from '../records/record.ts';

/** A record with the place it came from. */
export interface Row {
  record: VprefRecord;
  /** File name, or "stdin". */
  source: string;
  /** 1-based line. */
  line: number;
  /** The text it was read from, in which its unchanged fields are written again. */
  input?: InputText;
}

/** What became of one input row. Exactly one result per row, in input order. */
export interface RowResult {
  row: Row;
  /** Output records, 0..n; when n > 1 their ids are `id#k` and their group the input's id. */
  records: VprefRecord[];
  /** Why no record came out, in a few words for the summary ("equal answers"); not a failure. */
  dropped?: string;
  /**
   * The row failed: --on-error decides whether the run stops, the row is skipped, or kept with `error`: as records[0]
   * where there is one, else as it came. `partial`: part of the work is whole, so a kept record has no `error`.
   */
  error?: { code: string; message: string; cause?: unknown; partial?: boolean };
}

/** A stage. Throw only for what must stop the run; a failed row is a result with `error`. */
export type Stage = (rows: AsyncIterable<Row>) => AsyncIterable<RowResult>;

/** Stage from a function of one record. A RecordError or RunError it throws becomes the row's `error`. */
export function mapRows(fn: (row: Row) => VprefRecord[] | { dropped: string }): Stage {
  return async function* (rows) {
    for await (const row of rows) {
      const out = attempt(() => fn(row));
      yield Array.isArray(out) ? { row, records: out } : { row, records: [], ...out };
    }
  };
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

function attempt(fn: () => VprefRecord[] | { dropped: string }) {
  try {
    return fn();
  } catch (cause) {
    return { error: rowError(cause) };
  }
}

/** The row's failure from a thrown error; programming errors (TypeError and the like) are rethrown. */
export function rowError(cause: unknown): NonNullable<RowResult['error']> {
  if (!(cause instanceof Error) || cause instanceof TypeError || cause instanceof ReferenceError) throw cause;
  if (cause instanceof RecordError) return { code: BAD_RECORD, message: cause.message, cause };
  const code = 'code' in cause && typeof cause.code === 'string' ? cause.code : cause.name;
  return { code, message: cause.message, cause };
}
