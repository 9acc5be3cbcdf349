// SPDX-License-Identifier: Apache-2.0
// Passes rows through a stage into a sink: order, failures, counts.

import type { Row, RowResult, Stage } from '../flow/stage.ts';
import { BAD_RECORD, RecordError, RunError } from '../records/error.ts';
import { formatLine } from '../records/lines.ts';
import { formatRecord } from '../records/parse-record.ts';
import type { VprefRecord } from '../records/record.ts';
import type { OnError } from './flags.ts';
import type { BadRow, InputRow } from './input.ts';
import type { Reporter, RunCounts } from './progress.ts';
import type { Sink } from './sink.ts';

export interface PipeOptions {
  sink: Sink;
  onError: OnError;
  /** Name of the stage in `error.stage`. */
  stage: string;
  counts: RunCounts;
  reporter: Reporter;
}

/** Maximum failures that are printed; the rest are only counted in the summary. */
export const MAX_REPORTED = 20;

/**
 * Runs the rows through the stage. Rows that failed in an earlier stage bypass it and keep their position.
 * With --on-error fail, writes all rows before the failing one and none after it, then throws that row's error.
 */
export async function pipeRows(
  batches: AsyncIterable<Iterable<InputRow | BadRow>>,
  stage: Stage,
  options: PipeOptions,
): Promise<void> {
  if (stage.ofRow !== undefined) return pipeEachRow(batches, stage.ofRow, options);
  const { sink, onError } = options;
  const waiting = new Queue<InputRow | BadRow>();
  let stopped = false;
  async function* good(): AsyncGenerator<Row> {
    for await (const batch of batches)
      for (const row of batch) {
        waiting.push(row);
        if (isBad(row)) {
          // The stage finishes its rows first; then the writer throws the error.
          if (onError === 'fail') return;
        } else if (row.record.error === undefined) yield row;
        if (stopped) return;
      }
  }
  const writer = new ResultWriter(options);
  const writeAround = (until?: Row) => {
    for (let row = waiting.shift(); row !== undefined && row !== until; row = waiting.shift()) {
      if (isBad(row)) writer.write(resultOfBad(row));
      else if (row.record.error !== undefined) writer.passOn(row);
      else
        throw new RunError(
          'lost-row',
          `${row.source}:${row.line}: the stage gave no result for record "${row.record.id}"`,
        );
    }
  };
  try {
    for await (const result of stage(good())) {
      writeAround(result.row);
      options.reporter.figures.see?.(result);
      writer.write(result);
      // Await only if necessary: one event-loop turn per row takes a tenth of a data stage's time.
      if (sink.ready !== undefined) await sink.ready;
    }
    writeAround();
    if (sink.ready !== undefined) await sink.ready;
  } finally {
    stopped = true;
  }
}

/** The same for a stage that makes each result at once: without turns of the event queue, and nothing waits. */
async function pipeEachRow(
  batches: AsyncIterable<Iterable<InputRow | BadRow>>,
  ofRow: NonNullable<Stage['ofRow']>,
  options: PipeOptions,
): Promise<void> {
  const { sink, reporter } = options;
  const writer = new ResultWriter(options);
  for await (const batch of batches)
    for (const row of batch) {
      if (isBad(row)) writer.write(resultOfBad(row));
      else if (row.record.error !== undefined) writer.passOn(row);
      else {
        const result = ofRow(row);
        reporter.figures.see?.(result);
        writer.write(result);
      }
      if (sink.ready !== undefined) await sink.ready;
    }
}

/** The same for results without an input record; finished ones are skipped. */
export async function pipeResults(results: AsyncIterable<RowResult>, options: PipeOptions): Promise<void> {
  const { sink, counts } = options;
  const writer = new ResultWriter(options);
  for await (const result of results) {
    counts.read += 1;
    if (sink.done.has(result.row.record.id)) {
      counts.done += 1;
      counts.finished += 1;
    } else writer.write(result);
    if (sink.ready !== undefined) await sink.ready;
  }
}

/** A FIFO queue, because an array's shift() moves the remaining elements. */
class Queue<T> {
  #items: (T | undefined)[] = [];
  #head = 0;

  push(item: T): void {
    this.#items.push(item);
  }

  shift(): T | undefined {
    if (this.#head === this.#items.length) return undefined;
    const item = this.#items[this.#head];
    this.#items[this.#head] = undefined;
    this.#head += 1;
    if (this.#head === this.#items.length) {
      this.#items.length = 0;
      this.#head = 0;
    }
    return item;
  }
}

class ResultWriter {
  readonly #options: PipeOptions;
  #numReported = 0;

  constructor(options: PipeOptions) {
    this.#options = options;
  }

  write({ row, records, dropped, error }: RowResult): void {
    this.#options.counts.finished += 1;
    if (error !== undefined) {
      this.#fail(row, error, records[0]);
      return;
    }
    const { counts, sink } = this.#options;
    const { id } = row.record;
    if (records.length === 0) {
      const reason = dropped ?? 'no output';
      counts.dropped.set(reason, (counts.dropped.get(reason) ?? 0) + 1);
      sink.note({ id, rows: [], dropped: reason });
      return;
    }
    let lines: string[];
    try {
      lines = records.map((record) => formatRecord(record, row.input));
    } catch (cause) {
      if (!(cause instanceof RunError)) throw cause;
      this.#fail(row, { code: cause.code, message: cause.message, cause });
      return;
    }
    if (records.length > 1 || records[0]!.id !== id) sink.note({ id, rows: records.map((record) => record.id) });
    for (const line of lines) this.#pushLine(line);
  }

  passOn(row: InputRow): void {
    this.#options.counts.passed += 1;
    this.#options.counts.finished += 1;
    this.#push(row.record, row);
  }

  #fail(row: Row, error: NonNullable<RowResult['error']>, made: VprefRecord = row.record): void {
    const { onError, stage, sink, counts } = this.#options;
    const { code, message } = error;
    if (onError === 'fail') throw positioned(row, error);
    this.#warn(messageWithPlace(row, error));
    const { id } = row.record;
    if (onError === 'skip' || id === undefined) {
      counts.skipped += 1;
      if (id !== undefined) sink.note({ id, rows: [], error: code });
      return;
    }
    counts.kept += 1;
    sink.note({ id, rows: [id], error: code });
    this.#push(error.partial ? made : { ...made, error: { stage, code, message } }, row);
  }

  #warn(message: string): void {
    const { reporter } = this.#options;
    this.#numReported += 1;
    if (this.#numReported <= MAX_REPORTED) reporter.warn(message);
    else if (this.#numReported === MAX_REPORTED + 1)
      reporter.warn('more records failed: they are counted, not printed');
  }

  #push(record: VprefRecord, row: InputRow): void {
    this.#pushLine(formatRecord(record, row.input));
  }

  #pushLine(line: string): void {
    const { sink, counts } = this.#options;
    sink.push(line);
    counts.written += 1;
  }
}

function isBad(row: InputRow | BadRow): row is BadRow {
  return 'error' in row;
}

// A line that is not a record has no id, so it can only be skipped.
function resultOfBad({ source, line, record = {} as VprefRecord, error }: BadRow): RowResult {
  return {
    row: { source, line, record },
    records: [],
    error: { code: BAD_RECORD, message: error.message, cause: error },
  };
}

function messageWithPlace({ source, line, record }: Row, { message, cause }: NonNullable<RowResult['error']>): string {
  if (cause instanceof RecordError) return message;
  return `${source}:${line}: record ${JSON.stringify(record.id)}: ${message}`;
}

function positioned(row: Row, error: NonNullable<RowResult['error']>): Error {
  if (error.cause instanceof RecordError) return error.cause;
  return new RunError(error.code, messageWithPlace(row, error), { cause: error.cause });
}

/** Writes rows of another kind, objects or finished lines, to a sink. */
export async function pipeTable(rows: AsyncIterable<object | string>, sink: Sink): Promise<void> {
  for await (const row of rows) {
    sink.push(typeof row === 'string' ? row : formatLine(row));
    if (sink.ready !== undefined) await sink.ready;
  }
}
