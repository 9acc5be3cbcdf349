// SPDX-License-Identifier: Apache-2.0
// Top-level items of a JSON file, one at a time: the elements of an array, or the values of JSON lines. Memory
// holds one chunk and the current item.
import { isUtf8 } from 'node:buffer';
import { RecordError } from '../../records/error.ts';
import { ExactError, noteNumbers, parseExact } from '../../records/exact.ts';
import { describeValue, joinPath, type Place, type Problem } from '../../records/field.ts';
import { OPEN_BRACE } from '../../records/json-chars.ts';
import { describeJsonError } from '../../records/json-error.ts';
import { readLines } from '../../records/lines.ts';
import { BLANK, ItemScanner, MAX_ITEM_BYTES, NEWLINE } from './item-scanner.ts';
import { unwrapArray, wrapperName } from './wrapped-array.ts';

/** One item of another tool's file, with its place. */
export interface JsonItem {
  /** File name, or "stdin". */
  source: string;
  /** 1-based line on which the item starts. */
  line: number;
  /** Place of the item below its line: "[531]" in an array, "" on a line of its own. */
  path: string;
  value?: unknown;
  /** The reason if the item has no value. */
  error?: RecordError;
}

type Chunks = AsyncIterable<Uint8Array> | Iterable<Uint8Array>;

/**
 * The items of a JSON array (also alone in an object, under a name such as "data"), of JSON lines, or of objects printed over several lines. An item that is not JSON has
 * an `error`, and the next one is read; a file that is cut short ends in an item with an error.
 */
export async function* readJsonItems(chunks: Chunks, source: string): AsyncGenerator<JsonItem> {
  const { head, rest } = await peek(chunks);
  const start = head.findIndex((byte) => !BLANK.has(byte));
  if (start === -1) return;
  const firstLine = head.subarray(start, lineEnd(head, start)).toString().trim();
  const wrapper = wrapperName(head);
  if (firstLine.startsWith('[')) yield* arrayItems(rest, source);
  else if (wrapper !== undefined) yield* wrappedItems(rest, source, wrapper);
  else if (firstLine === '{') yield* printedItems(rest, source);
  else
    for await (const lines of readLines(rest, source))
      for (const line of lines)
        yield checkedItem({ source, line: line.line, path: '', value: line.value, error: line.error }, line.text);
}

/** The whole stream as one JSON value, for small files that are one object. Throws RecordError. */
export async function readJsonValue(chunks: Chunks, source: string): Promise<unknown> {
  const parts: Uint8Array[] = [];
  for await (const chunk of chunks) parts.push(chunk);
  return parseItem(Buffer.concat(parts), { source, line: 1 }, 'file');
}

/** The item with the texts of its numbers recorded, or with an error if parsing would lose data. */
function checkedItem(
  { error, ...item }: Omit<JsonItem, 'error'> & { error: RecordError | undefined },
  text: string,
): JsonItem {
  if (error !== undefined) return { ...item, error };
  const problem = noteNumbers(item.value, text);
  return problem === undefined ? item : { ...item, error: exactProblem(item, item.path, problem) };
}

function exactProblem(at: Place, path: string, { path: inside, expected, got }: Problem): RecordError {
  return new RecordError(at, joinPath(path, inside) || 'record', expected, got);
}

/** The first non-blank line within one chunk, and the complete stream. */
export async function peek(chunks: Chunks): Promise<{ head: Buffer; rest: AsyncIterable<Uint8Array> }> {
  const iterator = Symbol.asyncIterator in chunks ? chunks[Symbol.asyncIterator]() : chunks[Symbol.iterator]();
  const seen: Uint8Array[] = [];
  let head = Buffer.alloc(0);
  for (;;) {
    const next = await iterator.next();
    if (next.done) break;
    seen.push(next.value);
    head = Buffer.concat([head, next.value]);
    const start = head.findIndex((byte) => !BLANK.has(byte));
    if (start === -1) continue;
    // A brace alone on its line may open an object around the array, so read its key too.
    const isBrace = head[start] === OPEN_BRACE && head.subarray(start, lineEnd(head, start)).toString().trim() === '{';
    if (head.length - start > 64 || (head.includes(NEWLINE, start) && !isBrace)) break;
  }
  async function* rest() {
    try {
      yield* seen;
      for (let next = await iterator.next(); !next.done; next = await iterator.next()) yield next.value;
    } finally {
      await iterator.return?.();
    }
  }
  return { head, rest: rest() };
}

function lineEnd(bytes: Buffer, start: number): number {
  const newline = bytes.indexOf(NEWLINE, start);
  return newline === -1 ? bytes.length : newline;
}

/** Successive objects, each over several lines. */
async function* printedItems(chunks: Chunks, source: string): AsyncGenerator<JsonItem> {
  const scanner = new ItemScanner(0);
  for await (const chunk of chunks) {
    for (const { bytes, line } of scanner.push(chunk)) yield toItem(bytes, { source, line, path: '' });
  }
  const rest = scanner.rest();
  if (rest !== undefined) yield toItem(rest.bytes, { source, line: rest.line, path: '' });
}

/** The elements of the array in `{"data": [...]}`. */
async function* wrappedItems(
  chunks: AsyncIterable<Uint8Array>,
  source: string,
  name: string,
): AsyncGenerator<JsonItem> {
  const wrapper = { isClosed: false };
  let last: JsonItem | undefined;
  for await (const item of arrayItems(unwrapArray(chunks, wrapper), source)) {
    last = { ...item, path: item.path === '' ? '' : `${name}${item.path}` };
    yield last;
  }
  if (wrapper.isClosed || last?.error !== undefined) return;
  const at = { source, line: last?.line ?? 1, path: '' };
  yield { ...at, error: new RecordError(at, name, '"}" after the array', 'the end of the file') };
}

async function* arrayItems(chunks: Chunks, source: string): AsyncGenerator<JsonItem> {
  const scanner = new ItemScanner(1);
  let index = 0;
  for await (const chunk of chunks) {
    for (const { bytes, line } of scanner.push(chunk)) yield toItem(bytes, { source, line, path: `[${index++}]` });
  }
  const rest = scanner.rest();
  if (scanner.isClosed && rest === undefined) return;
  const line = rest?.line ?? scanner.line;
  const at = { source, line, path: scanner.isClosed ? '' : `[${index}]` };
  const error = scanner.isClosed
    ? new RecordError(
        at,
        'file',
        'nothing after the array',
        describeValue(rest!.bytes?.toString() ?? '').replace(/^string /, ''),
      )
    : new RecordError(at, at.path, rest ? 'the rest of the item' : 'an item or "]"', 'the end of the file');
  yield { ...at, error };
}

function toItem(bytes: Buffer | undefined, at: { source: string; line: number; path: string }): JsonItem {
  try {
    if (bytes === undefined) throw tooLong(at, at.path || 'item');
    return { ...at, value: parseItem(bytes, at, at.path || 'item') };
  } catch (error) {
    if (error instanceof RecordError) return { ...at, error };
    throw error;
  }
}

function tooLong(at: Place, field: string): RecordError {
  const limit = `a value of at most ${MAX_ITEM_BYTES / 2 ** 20} MiB`;
  return new RecordError(at, field, limit, 'a longer one (or a quote or bracket that is never closed)');
}

function parseItem(bytes: Buffer, at: Place, field: string): unknown {
  if (bytes.length > MAX_ITEM_BYTES) throw tooLong(at, field);
  if (!isUtf8(bytes)) throw new RecordError(at, field, 'UTF-8', 'bytes that are not');
  const text = bytes.toString().replace(/^\ufeff/, '');
  try {
    return parseExact(text);
  } catch (error) {
    if (error instanceof ExactError) throw exactProblem(at, field, error.problem);
    const got = text.trim() === '' ? 'nothing' : `bad JSON: ${describeJsonError(text).replace('the line', 'it')}`;
    throw new RecordError(at, field, 'a JSON value', got);
  }
}
