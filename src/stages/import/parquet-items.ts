// SPDX-License-Identifier: Apache-2.0
// Rows of a Parquet file, a row group at a time, as the JSON that the same rows would be.
import { RunError } from '../../records/error.ts';
import type { JsonItem } from './json-items.ts';

/** The rows, each on the "line" of its number. Throws RunError for a file that is no Parquet or is packed unusually. */
export async function* readParquetItems(path: string): AsyncGenerator<JsonItem> {
  // Loaded on first use: most imports are JSON.
  const { asyncBufferFromFile, parquetMetadataAsync, parquetReadObjects } = await import('hyparquet');
  const guard = async <T>(read: () => Promise<T>): Promise<T> => {
    try {
      return await read();
    } catch (cause) {
      throw new RunError('bad-parquet', `${path}: cannot be read as Parquet: ${(cause as Error).message}`, { cause });
    }
  };
  const file = await guard(() => asyncBufferFromFile(path));
  const metadata = await guard(() => parquetMetadataAsync(file));
  let line = 0;
  let rowStart = 0;
  for (const group of metadata.row_groups) {
    const rowEnd = rowStart + Number(group.num_rows);
    const rows = await guard(() => parquetReadObjects({ file, metadata, rowStart, rowEnd }));
    for (const row of rows) yield { source: path, line: ++line, path: '', value: toJson(row) };
    rowStart = rowEnd;
  }
}

/** Whole numbers that are exact as numbers, bytes as base64, dates as text. */
function toJson(value: unknown): unknown {
  if (typeof value === 'bigint') return BigInt(Number(value)) === value ? Number(value) : String(value);
  if (value instanceof Uint8Array) return Buffer.from(value).toString('base64');
  if (value instanceof Date) return value.toISOString();
  if (Array.isArray(value)) return value.map(toJson);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, member]) => [key, toJson(member)]));
}
