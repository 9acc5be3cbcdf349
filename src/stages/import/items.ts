// SPDX-License-Identifier: Apache-2.0
// The items of a file. Its first bytes give the format: JSON, Parquet or Arrow. Other known formats are refused by
// name.
import { RunError } from '../../records/error.ts';
import { readArrowItems } from './arrow-items.ts';
import type { ImportFile } from './format.ts';
import { type JsonItem, peek, readJsonItems, readJsonValue } from './json-items.ts';
import { readParquetItems } from './parquet-items.ts';

/** The items. Throws RunError for an unsupported kind of file. */
export async function* readItems(file: ImportFile): AsyncGenerator<JsonItem> {
  const { head, rest } = await peek(file.open());
  const kind = fileKind(head);
  if (kind === 'json') yield* readJsonItems(rest, file.source);
  else if (kind === 'arrow') yield* readArrowItems(rest, file.source);
  else if (kind === 'parquet') yield* readParquetItems(await parquetInput(file, rest), file.source);
  else throw refused(file, kind.other, 'JSON, JSON lines, Parquet or Arrow');
}

/** The whole file as one JSON value. Throws RecordError, and RunError for a file of another kind. */
export async function readValue(file: ImportFile): Promise<unknown> {
  const { head, rest } = await peek(file.open());
  const kind = fileKind(head);
  if (kind === 'json') return readJsonValue(rest, file.source);
  throw refused(file, typeof kind === 'string' ? KIND_NAMES[kind] : kind.other, 'one JSON value');
}

async function parquetInput(file: ImportFile, rest: AsyncIterable<Uint8Array>): Promise<string | Uint8Array> {
  if (file.onDisk !== undefined) return file.onDisk(rest);
  const parts: Uint8Array[] = [];
  for await (const chunk of rest) parts.push(chunk);
  return Buffer.concat(parts);
}

function refused(file: ImportFile, got: string, expected: string): RunError {
  return new RunError('file-kind', `${file.source}: expected ${expected}, got ${got}`);
}

const KIND_NAMES = { parquet: 'a Parquet file', arrow: 'an Arrow file' } as const;

type FileKind = 'json' | 'parquet' | 'arrow' | { other: string };

/** First bytes of unsupported files, in hex, and their names. */
const OTHERS: readonly (readonly [mark: string, name: string])[] = [
  ['50415245', 'an encrypted Parquet file'],
  ['504b0304', 'a ZIP archive (unpack it first)'],
  ['28b52ffd', 'a Zstandard file (unzstd it first)'],
  ['425a68', 'a bzip2 file (bunzip2 it first)'],
  ['fd377a585a00', 'an xz file (unxz it first)'],
  ['894844460d0a1a0a', 'an HDF5 file'],
  ['53514c69746520666f726d61742033', 'an SQLite file'],
  ['4f626a01', 'an Avro file'],
  ['4f5243', 'an ORC file'],
  ['fffe', 'UTF-16 text (a byte order mark): write it as UTF-8'],
  ['feff', 'UTF-16 text (a byte order mark): write it as UTF-8'],
  ['8002', 'a Python pickle'],
  ['8003', 'a Python pickle'],
  ['8004', 'a Python pickle'],
  ['8005', 'a Python pickle'],
];

function fileKind(head: Buffer): FileKind {
  const start = head.toString('latin1', 0, 6);
  if (start.startsWith('PAR1')) return 'parquet';
  if (start === 'ARROW1' || start.startsWith('\xff\xff\xff\xff')) return 'arrow';
  const hex = head.toString('hex', 0, 16);
  const other = OTHERS.find(([mark]) => hex.startsWith(mark));
  if (other !== undefined) return { other: other[1] };
  const firstLine = head
    .toString('utf8')
    .replace(/^\ufeff/, '')
    .trimStart()
    .split('\n')[0]!;
  if (firstLine.startsWith('version https://git-lfs'))
    return { other: 'a Git LFS pointer (git lfs pull fetches the file)' };
  if (/^<(?:!doctype|html)/i.test(firstLine)) return { other: 'an HTML page' };
  return looksLikeTable(firstLine) ? { other: 'a CSV or TSV table (write it as JSON lines or Parquet)' } : 'json';
}

/** A CSV header: names between commas or tabs, which no JSON value begins with. */
function looksLikeTable(line: string): boolean {
  return /^(?:"[^"{}[\]]*"|[A-Za-z_][^"{}[\],\t]*)[,\t]/.test(line);
}
