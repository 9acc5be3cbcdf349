// SPDX-License-Identifier: Apache-2.0
// Rows of a Parquet file, one row group at a time, as the JSON values of these rows. hyparquet reads only the physical
// values. They are converted here, because its own conversions lose digits and bytes.
import type { Compressors, FileMetaData, SchemaElement, SchemaTree } from 'hyparquet';
import { RecordError, RunError } from '../../records/error.ts';
import { parseExact } from '../../records/exact.ts';
import { joinPath } from '../../records/field.ts';
import {
  bytesCell,
  CellError,
  dateCell,
  decimalCell,
  readText,
  setCell,
  signedBytes,
  structCell,
  type TimeUnit,
  textCell,
  timeCell,
  timestampCell,
} from './cells.ts';
import type { JsonItem } from './json-items.ts';

interface AsyncBuffer {
  byteLength: number;
  slice(start: number, end?: number): ArrayBuffer | Promise<ArrayBuffer>;
}

/**
 * The rows of a file or of bytes, with the row number as "line". Throws RunError if the data is not Parquet, or has
 * columns without JSON values.
 */
export async function* readParquetItems(input: string | Uint8Array, source: string): AsyncGenerator<JsonItem> {
  // Loaded on first use: most imports are JSON.
  const [{ asyncBufferFromFile, parquetMetadataAsync, parquetReadObjects, parquetSchema }, { compressors }] =
    await Promise.all([import('hyparquet'), import('hyparquet-compressors')]);
  const guard = async <T>(read: () => T | Promise<T>): Promise<T> => {
    try {
      return await read();
    } catch (cause) {
      if (cause instanceof RunError) throw cause;
      throw new RunError('bad-parquet', `${source}: cannot be read as Parquet: ${(cause as Error).message}`, { cause });
    }
  };
  const file: AsyncBuffer = await guard(() =>
    typeof input === 'string' ? asyncBufferFromFile(input) : inMemory(input),
  );
  const metadata = await guard(() => parquetMetadataAsync(file));
  const { columns, physical } = await guard(() => planColumns(metadata, parquetSchema(metadata), source));
  let line = 0;
  let rowStart = 0;
  for (const group of metadata.row_groups) {
    const rowEnd = rowStart + Number(group.num_rows);
    const options = {
      file,
      metadata: physical,
      rowStart,
      rowEnd,
      compressors: withEmptyPages(compressors),
      utf8: false,
      parsers: RAW,
    };
    const rows = await guard(() => parquetReadObjects(options));
    for (const row of rows) yield toItem(row, columns, { source, line: ++line });
    rowStart = rowEnd;
  }
}

/** A page of only nulls is empty, which the package's LZ4 decoder does not handle. */
function withEmptyPages(compressors: Compressors): Compressors {
  const empty = new Uint8Array();
  return Object.fromEntries(
    Object.entries(compressors).map(([codec, unpack]) => [
      codec,
      (bytes, size) => (size === 0 ? empty : unpack(bytes, size)),
    ]),
  ) as Compressors;
}

function inMemory(bytes: Uint8Array): AsyncBuffer {
  const buffer = new Uint8Array(bytes).buffer;
  return { byteLength: buffer.byteLength, slice: (start, end) => buffer.slice(start, end) };
}

// hyparquet always reads INT96 as a time.
const RAW = {
  timestampFromNanoseconds: (nanos: bigint) => nanos as unknown as Date,
  stringFromBytes: (bytes: Uint8Array) => bytes && readText(bytes),
};

/** Converts a cell for setCell. Throws CellError. */
type Convert = (value: unknown) => unknown;

interface Column {
  name: string;
  convert: Convert;
}

function toItem(
  row: Record<string, unknown>,
  columns: readonly Column[],
  at: { source: string; line: number },
): JsonItem {
  const value: Record<string, unknown> = {};
  for (const { name, convert } of columns) {
    try {
      setCell(value, name, convert(row[name]));
    } catch (cause) {
      if (!(cause instanceof CellError)) throw cause;
      const path = cause.path === name ? name : joinPath(name, cause.path);
      return { ...at, path: '', error: new RecordError(at, path, cause.expected, cause.got) };
    }
  }
  return { ...at, path: '', value };
}

/** The columns with their conversions, and the metadata reduced to physical types, lists and maps. */
function planColumns(
  metadata: FileMetaData,
  root: SchemaTree,
  source: string,
): { columns: Column[]; physical: FileMetaData } {
  const names = root.children.map(({ element }) => element.name);
  for (const name of names) {
    if (name === '__proto__') throw badColumn(source, name, 'a column of another name');
    if (names.indexOf(name) !== names.lastIndexOf(name)) throw badColumn(source, name, 'each column once');
  }
  const columns = root.children.map((node) => ({ name: node.element.name, convert: conversion(node, source) }));
  return { columns, physical: { ...metadata, schema: metadata.schema.map(physicalElement) } };
}

function badColumn(source: string, name: string, expected: string, got = 'this one'): RunError {
  return new RunError('bad-parquet', `${source}: column ${JSON.stringify(name)}: expected ${expected}, got ${got}`);
}

// UTF8 stays, because hyparquet decodes map keys.
const KEPT_TYPES: ReadonlySet<string | undefined> = new Set(['UTF8', 'LIST', 'MAP', 'MAP_KEY_VALUE']);

function physicalElement(element: SchemaElement): SchemaElement {
  const { converted_type, logical_type, ...rest } = element;
  const isText = logical_type?.type === 'STRING';
  const kept = isText ? 'UTF8' : KEPT_TYPES.has(converted_type) ? converted_type : listOrMap(element);
  return { ...rest, ...(kept !== undefined && { converted_type: kept }) } as SchemaElement;
}

function listOrMap({ logical_type }: SchemaElement): 'LIST' | 'MAP' | undefined {
  return logical_type?.type === 'LIST' ? 'LIST' : logical_type?.type === 'MAP' ? 'MAP' : undefined;
}

function conversion(node: SchemaTree, source: string, isElement = false): Convert {
  const { element, children } = node;
  if (element.repetition_type === 'REPEATED' && !isElement) return listOf(conversion(node, source, true));
  if (children.length === 0) return orNull(leafConversion(node, source));
  const type = element.converted_type ?? listOrMap(element);
  const [only] = children;
  if (type === 'LIST' && children.length === 1 && only!.element.repetition_type === 'REPEATED') {
    // Three levels (list.element) in the format; two in files of old writers.
    const inner =
      only!.children.length === 1 ? conversion(only!.children[0]!, source) : conversion(only!, source, true);
    return listOf(inner);
  }
  if ((type === 'MAP' || type === 'MAP_KEY_VALUE') && only!.children.length === 2) return mapOf(only!, source);
  if (element.logical_type?.type === 'VARIANT') throw badColumn(source, node.path.join('.'), READABLE, 'VARIANT');
  return structOf(children.map((child) => ({ name: child.element.name, convert: conversion(child, source) })));
}

function orNull(convert: Convert): Convert {
  return (value) => (value === undefined || value === null ? null : convert(value));
}

function listOf(convert: Convert): Convert {
  return orNull((value) => {
    const list: unknown[] = [];
    for (const [index, member] of [...(value as Iterable<unknown>)].entries())
      within(`[${index}]`, () => setCell(list, index, convert(member)));
    return list;
  });
}

function structOf(members: readonly Column[]): Convert {
  return orNull((value) => {
    const struct: Record<string, unknown> = {};
    for (const { name, convert } of members)
      within(name, () => setCell(struct, name, convert((value as Record<string, unknown>)[name])));
    return structCell(struct);
  });
}

function mapOf(entry: SchemaTree, source: string): Convert {
  const [key, member] = entry.children;
  const isText = key!.element.converted_type === 'UTF8' || key!.element.logical_type?.type === 'STRING';
  if (!isText) throw badColumn(source, key!.path.join('.'), 'a map with text keys', String(key!.element.type));
  const convert = conversion(member!, source);
  return orNull((value) => {
    const map: Record<string, unknown> = {};
    for (const [name, found] of Object.entries(value as object))
      within(name, () => setCell(map, textCell(name), convert(found)));
    return map;
  });
}

/** Runs the work; prepends `path` to the place of a CellError. */
function within(path: string, work: () => void): void {
  try {
    work();
  } catch (cause) {
    if (!(cause instanceof CellError)) throw cause;
    throw new CellError(cause.path === path ? path : joinPath(path, cause.path), cause.expected, cause.got);
  }
}

const READABLE = 'text, bytes, numbers, booleans, dates, times, lists, structs or maps';
const UNITS: Readonly<Record<string, TimeUnit>> = {
  MILLIS: 'milliseconds',
  MICROS: 'microseconds',
  NANOS: 'nanoseconds',
};

function leafConversion({ element, path }: SchemaTree, source: string): Convert {
  const { type, converted_type: converted, logical_type: logical } = element;
  const unit = UNITS[(logical as { unit?: string } | undefined)?.unit ?? converted?.split('_')[1] ?? ''];
  switch (logical?.type ?? converted) {
    case 'UTF8':
    case 'STRING':
      return (value) => textCell(value as string);
    case 'ENUM':
      return (value) => text(value);
    case 'JSON':
      return (value) => jsonCell(text(value));
    case 'DECIMAL':
      return (value) =>
        decimalCell(value instanceof Uint8Array ? signedBytes(value) : BigInt(value as number), element.scale ?? 0);
    case 'DATE':
      return (value) => dateCell(value as number);
    case 'TIMESTAMP_MILLIS':
    case 'TIMESTAMP_MICROS':
      return (value) => timestampCell(BigInt(value as bigint), unit!, true);
    case 'TIMESTAMP': {
      const { isAdjustedToUTC } = logical as { isAdjustedToUTC: boolean };
      return (value) => timestampCell(BigInt(value as bigint), unit!, isAdjustedToUTC);
    }
    case 'TIME_MILLIS':
    case 'TIME_MICROS':
    case 'TIME':
      return (value) => timeCell(BigInt(value as bigint), unit!);
    case 'UUID':
      return (value) =>
        Buffer.from(value as Uint8Array)
          .toString('hex')
          .replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-');
    case 'UINT_64':
      return (value) => BigInt.asUintN(64, BigInt(value as bigint));
    case 'UINT_8':
    case 'UINT_16':
    case 'UINT_32':
      return (value) => (value as number) >>> 0;
    case 'INTEGER': {
      const { isSigned, bitWidth } = logical as { isSigned: boolean; bitWidth: number };
      if (isSigned) return (value) => value;
      return (value) => (bitWidth === 64 ? BigInt.asUintN(64, BigInt(value as bigint)) : (value as number) >>> 0);
    }
    case 'FLOAT16':
      return (value) => halfFloat(Buffer.from(value as Uint8Array).readUInt16LE(0));
    case 'INT_8':
    case 'INT_16':
    case 'INT_32':
    case 'INT_64':
    case undefined:
      break;
    default:
      throw badColumn(source, path.join('.'), READABLE, String(logical?.type ?? converted));
  }
  if (type === 'INT96') return (value) => timestampCell(value as bigint, 'nanoseconds', true);
  if (type === 'BYTE_ARRAY' || type === 'FIXED_LEN_BYTE_ARRAY') return (value) => bytesCell(value as Uint8Array);
  return (value) => value;
}

/** IEEE 754 binary16. */
function halfFloat(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 0x1f;
  const fraction = (bits & 0x3ff) / 1024;
  if (exponent === 0x1f) return fraction === 0 ? sign * Number.POSITIVE_INFINITY : Number.NaN;
  return sign * (exponent === 0 ? fraction * 2 ** -14 : (1 + fraction) * 2 ** (exponent - 15));
}

function text(value: unknown): string {
  return textCell(readText(value as Uint8Array));
}

function jsonCell(json: string): unknown {
  try {
    return parseExact(json);
  } catch (cause) {
    throw new CellError('', 'JSON', (cause as Error).message);
  }
}
