// SPDX-License-Identifier: Apache-2.0
// Input records: files or stdin, as one stream of rows.
import { createReadStream, fstatSync, statSync } from 'node:fs';
import type { Readable } from 'node:stream';
import type { Row } from '../flow/stage.ts';
import { RecordError, RunError, UsageError } from '../records/error.ts';
import { describeValue } from '../records/field.ts';
import { IdSet } from '../records/id-set.ts';
import { type Line, readLines } from '../records/lines.ts';
import { parseRecord } from '../records/parse-record.ts';
import type { VprefRecord } from '../records/record.ts';
import type { RunCounts } from './progress.ts';
import type { Shard } from './shard.ts';

export type InputRow = Row;

/** A line that is not a record, or a record with a wrong field. */
export interface BadRow {
  source: string;
  line: number;
  /** The value, if the line is an object with an id, so it can be kept with its error. */
  record?: VprefRecord;
  error: RecordError;
}

export interface InputOptions {
  /** Paths; "-" or no path means stdin. */
  files: readonly string[];
  shard?: Shard | undefined;
  limit?: number | undefined;
  /** Ids already in the output. */
  isDone?: (id: string) => boolean;
  /** Its abort ends the input. */
  stop: AbortSignal;
  counts: RunCounts;
}

const CHUNK_BYTES = 256 * 1024;

/** Throws UsageError for the first unreadable file, before any other work. */
export function checkFiles(files: readonly string[]): void {
  for (const file of files) {
    if (file === '-') continue;
    const stats = statSync(file, { throwIfNoEntry: false });
    if (stats === undefined) throw new UsageError(`${file}: expected a file, got nothing of that name`);
    if (stats.isDirectory()) throw new UsageError(`${file}: expected a file, got a directory`);
  }
}

/**
 * The rows of the input in order, one batch per chunk of bytes. Rows are parsed lazily. Bad rows are yielded
 * as failures, for the caller to handle.
 */
export async function* readRows(options: InputOptions): AsyncGenerator<Iterable<InputRow | BadRow>> {
  const { counts, limit = Number.POSITIVE_INFINITY, shard, stop } = options;
  const files = options.files.length === 0 ? ['-'] : options.files;
  const ids = new IdSet();
  let number = 0;
  counts.bytesTotal = totalBytes(files);
  let bytesReached = 0;
  let isOver = false;
  counts.rowsTotal = () => {
    if (isOver) return counts.read;
    if (!counts.bytesTotal || bytesReached === 0) return limit === Number.POSITIVE_INFINITY ? undefined : mine(limit);
    return Math.max(counts.read, mine(Math.min(limit, Math.round(number * (counts.bytesTotal / bytesReached)))));
  };
  const mine = (rows: number) => (shard === undefined ? rows : Math.ceil((rows - shard.index) / shard.count));
  function* rowsOf(batch: Iterable<Line>, source: string): Generator<InputRow | BadRow> {
    for (const line of batch) {
      if (number >= limit || stop.aborted) return;
      const row = parseRow(line, source, ids);
      if (counts.isWatched) bytesReached += Buffer.byteLength(line.text) + 1;
      const isMine = shard === undefined || number % shard.count === shard.index;
      number += 1;
      if (!isMine) continue;
      counts.read += 1;
      if (!('error' in row) && options.isDone?.(row.record.id)) {
        counts.done += 1;
        counts.finished += 1;
      } else yield row;
    }
  }
  for (const file of files) {
    const source = file === '-' ? 'stdin' : file;
    for await (const batch of readLines(readBytes(file, stop, counts), source)) {
      yield rowsOf(batch, source);
      if (number >= limit || stop.aborted) break;
    }
    if (number >= limit || stop.aborted) break;
  }
  isOver = true;
}

function parseRow({ line, value, text, error }: Line, source: string, ids: IdSet): InputRow | BadRow {
  if (error !== undefined) return { source, line, error };
  try {
    const record = parseRecord(value, { source, line });
    if (!ids.add(record.id))
      throw new RecordError({ source, line }, 'id', 'an id not seen before', describeValue(record.id));
    if (freezesInput) freeze(record);
    return { record, source, line, input: { text, record } };
  } catch (cause) {
    if (!(cause instanceof RecordError)) throw cause;
    const hasId = cause.field !== 'id' && typeof (value as VprefRecord | null)?.id === 'string';
    return { source, line, error: cause, ...(hasId && { record: value as VprefRecord }) };
  }
}

// Set by tests: detects a stage that changes a record in place.
const freezesInput = process.env.VPREF_FREEZE_INPUT === '1';

function freeze(value: unknown): void {
  if (typeof value !== 'object' || value === null) return;
  Object.freeze(value);
  for (const member of Object.values(value)) freeze(member);
}

/** The bytes of a file or stdin; ends early, without an error, when `stop` aborts. */
export async function* readBytes(file: string, stop: AbortSignal, counts?: RunCounts): AsyncGenerator<Buffer> {
  const stream = openStream(file);
  const end = () => stream.destroy();
  stop.addEventListener('abort', end, { once: true });
  try {
    for await (const chunk of stream) {
      if (counts !== undefined) counts.bytesRead += (chunk as Buffer).length;
      yield chunk as Buffer;
    }
  } catch (cause) {
    if (stop.aborted) return;
    const name = file === '-' ? 'stdin' : file;
    throw new RunError('read-failed', `${name}: cannot be read: ${(cause as Error).message}`, { cause });
  } finally {
    stop.removeEventListener('abort', end);
  }
}

function openStream(file: string): Readable {
  if (file !== '-') return createReadStream(file, { highWaterMark: CHUNK_BYTES });
  // A redirected file is read in larger chunks than by process.stdin.
  if (isRegular(0)) return createReadStream('', { fd: 0, autoClose: false, highWaterMark: CHUNK_BYTES });
  return process.stdin;
}

function isRegular(fd: number): boolean {
  try {
    return fstatSync(fd).isFile();
  } catch {
    return false;
  }
}

/** Whether every input is a regular file, so all input is available. */
export function isWholeInput(files: readonly string[]): boolean {
  return (files.length === 0 ? ['-'] : files).every((file) => (file === '-' ? isRegular(0) : statSync(file).isFile()));
}

/** Sum of the sizes, if every input is a regular file. */
export function totalBytes(files: readonly string[]): number | undefined {
  let total = 0;
  for (const file of files) {
    if (file === '-' && !isRegular(0)) return undefined;
    const stats = file === '-' ? fstatSync(0) : statSync(file);
    if (!stats.isFile()) return undefined;
    total += stats.size;
  }
  return total;
}
