// SPDX-License-Identifier: Apache-2.0
// Rows of Arrow IPC data, stream or file form, one record batch at a time, as the JSON values of these rows.
// The file form is a stream between a mark and an index; it is read as that stream.
import type { Batch, DataType, Table } from '@uwdata/flechette';
import { RecordError, RunError } from '../../records/error.ts';
import { joinPath } from '../../records/field.ts';
import {
  bytesCell,
  CellError,
  dateCell,
  decimalCell,
  readText,
  setCell,
  structCell,
  type TimeUnit,
  textCell,
  timeCell,
  timestampCell,
} from './cells.ts';
import type { JsonItem } from './json-items.ts';

type Chunks = AsyncIterable<Uint8Array> | Iterable<Uint8Array>;

/** The rows, with the row number as "line". Throws RunError for data that is not Arrow or uses an unsupported type. */
export async function* readArrowItems(chunks: Chunks, source: string): AsyncGenerator<JsonItem> {
  // Loaded on first use: most imports are JSON.
  const [arrow, { decompressZstd }] = await Promise.all([import('@uwdata/flechette'), import('hyparquet-compressors')]);
  arrow.setCompressionCodec(arrow.CompressionType.ZSTD, {
    encode: (bytes) => bytes,
    // A copy, so values are aligned to 8 bytes.
    decode: (bytes) => new Uint8Array(decompressZstd(bytes)),
  });
  readTextStrictly(arrow);
  const bad = (message: string, cause?: unknown) =>
    new RunError('bad-arrow', `${source}: cannot be read as Arrow: ${message}`, { cause });
  const convert = new Converter(arrow.Type, source);
  // Messages that every batch needs before it: the schema, and the dictionaries so far.
  const before: Uint8Array[] = [];
  let line = 0;
  for await (const { kind, bytes } of messages(chunks, bad)) {
    if (kind !== RECORD_BATCH) {
      before.push(bytes);
      if (before.length === 1) checkNames(read(arrow, before, bad), source);
      continue;
    }
    const table = read(arrow, [...before, bytes], bad);
    const columns = table.schema.fields.map(({ name, type }, index) => ({
      name,
      type,
      column: table.getChildAt(index)!,
    }));
    for (let row = 0; row < table.numRows; row++) yield toItem(columns, row, convert, { source, line: ++line });
  }
}

type Arrow = typeof import('@uwdata/flechette');
type Bad = (message: string, cause?: unknown) => RunError;
type Columns = readonly { name: string; type: DataType; column: { at(row: number): unknown } }[];

const OPTIONS = { useBigInt: true, useBigIntTimestamp: true, useDecimalInt: true };

function read(arrow: Arrow, parts: Uint8Array[], bad: Bad): Table {
  try {
    return arrow.tableFromIPC(parts, OPTIONS);
  } catch (cause) {
    throw bad(
      (cause as Error).message.replace(/^Missing compression codec/, 'there is no reader for compression'),
      cause,
    );
  }
}

/** The package replaces invalid UTF-8 and drops byte order marks, so texts are decoded here. */
function readTextStrictly({ batchType, utf8, largeUtf8, binary, largeBinary }: Arrow): void {
  for (const [text, bytes] of [
    [utf8(), binary()],
    [largeUtf8(), largeBinary()],
  ] as const) {
    const bytesAt = (batchType(bytes).prototype as Batch<Uint8Array>).value;
    (batchType(text).prototype as Batch<string>).value = function value(index) {
      return readText(bytesAt.call(this as unknown as Batch<Uint8Array>, index));
    };
  }
}

function checkNames(table: Table, source: string): void {
  const names = table.schema.fields.map(({ name }) => name);
  for (const name of names)
    if (names.indexOf(name) !== names.lastIndexOf(name))
      throw new RunError('bad-arrow', `${source}: column ${JSON.stringify(name)}: expected each column once, got two`);
}

function toItem(columns: Columns, row: number, convert: Converter, at: { source: string; line: number }): JsonItem {
  const value: Record<string, unknown> = {};
  for (const { name, type, column } of columns) {
    try {
      setCell(value, name, convert.cell(column.at(row), type, name));
    } catch (cause) {
      if (!(cause instanceof CellError)) throw cause;
      const path = cause.path === name ? name : joinPath(name, cause.path);
      return { ...at, path: '', error: new RecordError(at, path, cause.expected, cause.got) };
    }
  }
  return { ...at, path: '', value };
}

const UNITS: readonly TimeUnit[] = ['seconds', 'milliseconds', 'microseconds', 'nanoseconds'];

/** Names of the parts of flechette's types. */
interface AnyType {
  typeId: number;
  unit?: number;
  timezone?: string | null;
  scale?: number;
  children?: { name: string; type: DataType }[];
  dictionary?: DataType;
}

class Converter {
  readonly #type: Arrow['Type'];
  readonly #source: string;

  constructor(type: Arrow['Type'], source: string) {
    this.#type = type;
    this.#source = source;
  }

  /** Converts a cell for setCell. Throws CellError, and RunError for an unsupported type. */
  cell(value: unknown, dataType: DataType, path: string): unknown {
    if (value === null || value === undefined) return null;
    const Type = this.#type;
    const { typeId, unit = 0, timezone, scale = 0, children = [], dictionary } = dataType as unknown as AnyType;
    switch (typeId) {
      case Type.Null:
      case Type.Bool:
      case Type.Int:
      case Type.Float:
        return value;
      case Type.Utf8:
      case Type.LargeUtf8:
      case Type.Utf8View:
        return textCell(value as string);
      case Type.Binary:
      case Type.LargeBinary:
      case Type.BinaryView:
      case Type.FixedSizeBinary:
        return bytesCell(value as Uint8Array);
      case Type.Decimal:
        return decimalCell(BigInt(value as bigint), scale);
      case Type.Date:
        return dateCell(Math.floor(Number(value) / 86_400_000));
      case Type.Time:
        return timeCell(BigInt(value as bigint), UNITS[unit]!);
      case Type.Timestamp:
        return timestampCell(BigInt(value as bigint), UNITS[unit]!, timezone !== null && timezone !== undefined);
      case Type.Dictionary:
        return this.cell(value, dictionary!, path);
      case Type.List:
      case Type.LargeList:
      case Type.ListView:
      case Type.LargeListView:
      case Type.FixedSizeList:
        return this.#list(value as Iterable<unknown>, children[0]!.type, path);
      case Type.Struct:
        return this.#struct(value as Record<string, unknown>, children, path);
      case Type.Map:
        return this.#map(value as Iterable<[unknown, unknown]>, children[0]!.type, path);
      default:
        throw new RunError(
          'bad-arrow',
          `${this.#source}: column ${JSON.stringify(path)}: expected text, bytes, numbers, booleans, dates, times, lists, structs or maps, got ${nameOf(Type, typeId)}`,
        );
    }
  }

  #list(values: Iterable<unknown>, type: DataType, path: string): unknown[] {
    const list: unknown[] = [];
    let index = 0;
    for (const value of values) {
      setCell(list, index, this.cell(value, type, `${path}[${index}]`));
      index += 1;
    }
    return list;
  }

  #struct(value: Record<string, unknown>, members: readonly { name: string; type: DataType }[], path: string): unknown {
    const struct: Record<string, unknown> = {};
    for (const { name, type } of members) setCell(struct, name, this.cell(value[name], type, joinPath(path, name)));
    return structCell(struct);
  }

  #map(entries: Iterable<[unknown, unknown]>, entry: DataType, path: string): unknown {
    const [, member] = (entry as unknown as AnyType).children!;
    const map: Record<string, unknown> = {};
    for (const [key, value] of entries) {
      if (typeof key !== 'string') throw new CellError('', 'a map with text keys', `one with a ${typeof key}`);
      setCell(map, textCell(key), this.cell(value, member!.type, joinPath(path, key)));
    }
    return map;
  }
}

function nameOf(types: object, id: number): string {
  return Object.entries(types).find(([, value]) => value === id)?.[0] ?? `type ${id}`;
}

const CONTINUATION = 0xffffffff;
const FILE_MARK = 'ARROW1';
const RECORD_BATCH = 3;
const MAX_MESSAGE_BYTES = 2 ** 31;

interface Message {
  /** 1 schema, 2 dictionary, 3 record batch. */
  kind: number;
  bytes: Uint8Array;
}

/** The messages of a stream with their bodies, up to its end mark. Throws `bad(...)` for invalid bytes. */
async function* messages(chunks: Chunks, bad: Bad): AsyncGenerator<Message> {
  const reader = new ByteReader(chunks);
  const isFile = (await reader.peek(8))?.toString('latin1', 0, 6) === FILE_MARK;
  if (isFile) await reader.take(8);
  for (;;) {
    const head = await reader.take(8);
    // A stream may lack its end mark; a file has its index after it.
    if (head === undefined && !isFile && reader.isAtEnd) return;
    if (head === undefined) throw bad('it is cut short');
    if (head.readUInt32LE(0) !== CONTINUATION)
      throw bad('a message of before Arrow 0.15, or none, where one should begin');
    const size = head.readInt32LE(4);
    if (size === 0) return;
    const metadata = size > 0 && size < MAX_MESSAGE_BYTES ? await reader.take(size) : undefined;
    if (metadata === undefined) throw bad('it is cut short');
    const { kind, bodyLength } = messageHead(metadata);
    if (bodyLength >= MAX_MESSAGE_BYTES) throw bad(`a batch of ${bodyLength} bytes, more than 2 GiB`);
    const body = await reader.take(bodyLength);
    if (body === undefined) throw bad('it is cut short');
    // One buffer per body, because values are views of it, aligned to 8 bytes.
    const bytes = new Uint8Array(8 + size + bodyLength);
    bytes.set(head);
    bytes.set(metadata, 8);
    bytes.set(body, 8 + size);
    yield { kind, bytes };
  }
}

/** Two fields of the flatbuffer table Message {version, header_type, header, bodyLength}: Arrow format/Message.fbs. */
function messageHead(metadata: Buffer): { kind: number; bodyLength: number } {
  const table = metadata.readInt32LE(0);
  const layout = table - metadata.readInt32LE(table);
  const size = metadata.readUInt16LE(layout);
  const field = (index: number) => (4 + 2 * index < size ? metadata.readUInt16LE(layout + 4 + 2 * index) : 0);
  const kind = field(1);
  const body = field(3);
  return {
    kind: kind === 0 ? 0 : metadata.readUInt8(table + kind),
    bodyLength: body === 0 ? 0 : Number(metadata.readBigInt64LE(table + body)),
  };
}

/** Reads chunks of bytes in pieces of requested sizes. */
class ByteReader {
  readonly #chunks: AsyncIterator<Uint8Array> | Iterator<Uint8Array>;
  #held: Buffer[] = [];
  #numBytes = 0;

  constructor(chunks: Chunks) {
    this.#chunks = Symbol.asyncIterator in chunks ? chunks[Symbol.asyncIterator]() : chunks[Symbol.iterator]();
  }

  /** Whether no byte is left. */
  get isAtEnd(): boolean {
    return this.#numBytes === 0;
  }

  /** The next bytes, not consumed; undefined if there are fewer. */
  async peek(count: number): Promise<Buffer | undefined> {
    while (this.#numBytes < count) {
      const next = await this.#chunks.next();
      if (next.done) return undefined;
      const { buffer, byteOffset, byteLength } = next.value;
      this.#held.push(Buffer.from(buffer, byteOffset, byteLength));
      this.#numBytes += byteLength;
    }
    const all = this.#held.length === 1 ? this.#held[0]! : Buffer.concat(this.#held);
    this.#held = [all];
    return all.subarray(0, count);
  }

  async take(count: number): Promise<Buffer | undefined> {
    const bytes = await this.peek(count);
    if (bytes === undefined) return undefined;
    this.#held = [this.#held[0]!.subarray(count)];
    this.#numBytes -= count;
    return bytes;
  }
}
