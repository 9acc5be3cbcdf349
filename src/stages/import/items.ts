// SPDX-License-Identifier: Apache-2.0
// The items of a file in whatever it is kept: Parquet by the end of its name, JSON otherwise.
import type { ImportFile } from './format.ts';
import { type JsonItem, readJsonItems } from './json-items.ts';
import { readParquetItems } from './parquet-items.ts';

export function readItems(file: ImportFile): AsyncIterable<JsonItem> {
  return file.source.endsWith('.parquet') ? readParquetItems(file.source) : readJsonItems(file.open(), file.source);
}
