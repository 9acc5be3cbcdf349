// SPDX-License-Identifier: Apache-2.0
// mix: rows of several files in given proportions. Rows and order depend only on the seed, the weights and the files' sizes.

import { type Row, type RowResult, rowError } from '../flow/stage.ts';
import { count } from '../records/count.ts';
import { RecordError, UsageError } from '../records/error.ts';
import { IdSet } from '../records/id-set.ts';
import { randomStream } from '../records/random.ts';

export interface MixFile {
  /** File name, for messages. */
  source: string;
  weight: number;
  /** Number of rows. */
  numRows: number;
  /** Its rows in order, or the error of a line. */
  rows(): AsyncIterable<Row | BadRow>;
}

/** A line that is not a record. */
export interface BadRow {
  source: string;
  line: number;
  error: RecordError;
}

/**
 * Rows to take from each file: `limit` in total, by the largest remainder. Without a limit, the maximum that the weights allow before a
 * file runs out. Throws UsageError if a file has fewer rows than its share.
 */
export function mixShares(files: readonly Pick<MixFile, 'source' | 'weight' | 'numRows'>[], limit?: number): number[] {
  const sum = files.reduce((total, { weight }) => total + weight, 0);
  if (limit === undefined) {
    const unit = Math.min(...files.map(({ weight, numRows }) => numRows / weight));
    // In floating point, a product such as 7 / 0.7 * 0.7 may end just below the integer.
    return files.map(({ weight, numRows }) => Math.min(numRows, Math.floor(unit * weight * (1 + 1e-12))));
  }
  const exact = files.map(({ weight }) => (limit * weight) / sum);
  const shares = exact.map((share) => Math.floor(share));
  const byRemainder = exact.map((share, index) => ({ index, rest: share - shares[index]! }));
  byRemainder.sort((a, b) => b.rest - a.rest || a.index - b.index);
  const missing = limit - shares.reduce((total, share) => total + share, 0);
  for (const { index } of byRemainder.slice(0, missing)) shares[index]! += 1;
  for (const [index, { source, numRows }] of files.entries())
    if (shares[index]! > numRows)
      throw new UsageError(
        `${source}: expected at least ${count(shares[index]!, 'row')}, its share of --limit ${limit}, got ${numRows}`,
      );
  return shares;
}

/**
 * `shares[i]` rows of file i, uniformly drawn, in file order. The next file is drawn row by row.
 * A repeated id is that row's error.
 */
export async function* mix(
  files: readonly MixFile[],
  shares: readonly number[],
  seed: number,
): AsyncGenerator<RowResult> {
  const order = randomStream(seed, 'mix/order');
  const open = files.map((file, index) => ({
    rows: drawnRows(file, shares[index]!, seed, index),
    left: shares[index]!,
  }));
  const ids = new IdSet();
  try {
    for (let left = shares.reduce((sum, share) => sum + share, 0); left > 0; left -= 1) {
      let place = order.nextInt(left);
      const next = open.find((file) => {
        if (place < file.left) return true;
        place -= file.left;
        return false;
      })!;
      next.left -= 1;
      const { value, done } = await next.rows.next();
      // Only if the input ends early.
      if (done) return;
      yield toResult(value, ids);
    }
  } finally {
    await Promise.all(open.map(({ rows }) => rows.return(undefined)));
  }
}

/** Draws `count` of the file's rows: takes each with probability (rows to take) / (rows left). */
async function* drawnRows(file: MixFile, count: number, seed: number, index: number): AsyncGenerator<Row | BadRow> {
  const draw = randomStream(seed, 'mix/rows', String(index));
  let [needed, coming] = [count, file.numRows];
  for await (const row of file.rows()) {
    if (needed === 0) return;
    if (draw.nextInt(coming) < needed) {
      needed -= 1;
      yield row;
    }
    coming -= 1;
    if (coming === 0 && needed > 0) break;
  }
}

function toResult(row: Row | BadRow, ids: IdSet): RowResult {
  if ('error' in row) {
    const { source, line, error } = row;
    return { row: { source, line, record: {} as Row['record'] }, records: [], error: rowError(error) };
  }
  if (ids.add(row.record.id)) return { row, records: [row.record] };
  const error = new RecordError(row, 'id', 'an id not seen before', JSON.stringify(row.record.id));
  return { row, records: [], error: rowError(error) };
}
