// SPDX-License-Identifier: Apache-2.0
// Reads and writes NDJSON. readLines is the hot path, with its own splitter; readNdjson extends the `ndjson` package,
// for side files and live pipes. Both give the same lines; bench/ndjson measures the ratio.
import { constants, isAscii, isUtf8 } from 'node:buffer';
import type { Transform } from 'node:stream';
import { RecordError, RunError } from './error.ts';
import { stringifyExact } from './exact.ts';
import { isObject, joinPath, type Place } from './field.ts';
import { describeJsonError } from './json-error.ts';

/** A non-blank line: its value, or the reason for none. */
export interface Line {
  /** 1-based, blank lines counted. */
  line: number;
  value?: unknown;
  /** The original text. */
  text: string;
  error?: RecordError;
}

type Chunks = AsyncIterable<Uint8Array> | Iterable<Uint8Array>;

const NEWLINE = 0x0a;
const BYTE_ORDER_MARK = 0xfeff;

/**
 * The lines of a byte stream, one batch per chunk. A line is parsed lazily, so it can be freed
 * before the next one. Accepts byte order marks, CR LF, blank lines, and
 * `null` as a value. Bad JSON and bad UTF-8 are lines with an error, and reading continues.
 */
export async function* readLines(chunks: Chunks, source: string): AsyncGenerator<Iterable<Line>> {
  const at = { source, line: 0 };
  for await (const bytes of wholeLines(chunks)) {
    if (bytes === TOO_LONG) yield [tooLong(at)];
    else if (bytes.length >= MAX_LINE_BYTES) yield parseBytes(bytes, at);
    // ASCII is copied, ten times as fast as UTF-8 is decoded.
    else if (isAscii(bytes)) yield parseText(bytes.toString('latin1'), at);
    else yield isUtf8(bytes) ? parseText(bytes.toString(), at) : parseBytes(bytes, at);
  }
}

/**
 * The same lines through the `ndjson` package. Use it if lines are few or arrive one at a time (label files,
 * journals, judges on a pipe). It is loaded on first use, because its import takes 12 ms.
 */
export async function* readNdjson(chunks: Chunks, source: string): AsyncGenerator<Line> {
  const [{ default: ndjson }, { Readable }] = await Promise.all([import('ndjson'), import('node:stream')]);
  const at = { source, line: 0 };
  const badLines = new Map<number, RecordError>();
  const parser = ndjson.parse() as unknown as RowParser;
  const parseRow = parser.mapper;
  // The package ends at `null`, fails at a byte order mark, turns bad bytes into U+FFFD and counts no lines.
  // So its row parser is called from here, and its result is wrapped in an object.
  parser.mapper = (raw) => {
    at.line += 1;
    const text = withoutMark(raw);
    const bad = badLines.get(at.line);
    if (bad !== undefined) return { line: at.line, text, error: bad };
    if (isBlank(text)) return undefined;
    let failed = false;
    const value = parseRow.call({ emit: () => (failed = true) }, text);
    return failed ? { line: at.line, text, error: badJson(text, at) } : { line: at.line, value, text };
  };
  const bytes = Readable.from(noteBadBytes(chunks, source, badLines), { objectMode: false });
  bytes.on('error', (error) => parser.destroy(error));
  bytes.pipe(parser);
  try {
    for await (const line of parser) yield line as Line;
  } finally {
    bytes.destroy();
  }
}

/** One row as a line of JSON without its newline. Throws RunError for a value that JSON cannot represent. */
export function formatLine(row: object): string {
  try {
    return stringifyExact(row);
  } catch (cause) {
    if (cause instanceof RangeError && /stack/.test(cause.message))
      throw new RunError('not-json', 'cannot be written as JSON: it is nested too deeply', { cause });
    checkCircles(row);
    throw new RunError('not-json', `cannot be written as JSON: ${(cause as Error).message}`, { cause });
  }
}

// The part of split2's stream, which ndjson.parse() returns, that readNdjson builds on.
type RowParser = Transform & { mapper(this: unknown, row: string): unknown };

/** A longer line does not fit in a string. */
const MAX_LINE_BYTES = constants.MAX_STRING_LENGTH - 1024;

/** Marks a line above MAX_LINE_BYTES, which is skipped. */
const TOO_LONG = Buffer.alloc(0);

function tooLong(at: Place): Line {
  at.line += 1;
  const mebibytes = Math.floor(MAX_LINE_BYTES / 2 ** 20);
  return {
    line: at.line,
    text: '',
    error: new RecordError(at, 'record', `a line of at most ${mebibytes} MiB`, 'a longer one'),
  };
}

/** Chunks split after a newline, so no line is in two of them; the last may lack its newline. */
async function* wholeLines(chunks: Chunks): AsyncGenerator<Buffer> {
  let tail: Buffer[] = [];
  let tailBytes = 0;
  for await (const chunk of chunks) {
    let bytes = Buffer.isBuffer(chunk) ? chunk : Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength);
    const first = bytes.indexOf(NEWLINE);
    const lineBytes = tailBytes + (first === -1 ? bytes.length : first);
    if (lineBytes > MAX_LINE_BYTES) {
      tail = [];
      tailBytes = lineBytes;
      if (first === -1) continue;
      yield TOO_LONG;
      tailBytes = 0;
      bytes = bytes.subarray(first + 1);
    }
    const end = bytes.lastIndexOf(NEWLINE) + 1;
    if (end === 0) {
      tail.push(bytes);
      tailBytes += bytes.length;
      continue;
    }
    const whole = bytes.subarray(0, end);
    yield tail.length === 0 ? whole : Buffer.concat([...tail, whole]);
    tail = end < bytes.length ? [bytes.subarray(end)] : [];
    tailBytes = bytes.length - end;
  }
  if (tailBytes > MAX_LINE_BYTES) yield TOO_LONG;
  else if (tail.length > 0) yield Buffer.concat(tail);
}

function* parseText(text: string, at: Place): Generator<Line> {
  for (let start = 0; start < text.length; ) {
    const newline = text.indexOf('\n', start);
    const end = newline === -1 ? text.length : newline;
    at.line += 1;
    const line = parseLine(text.slice(start, end), at);
    if (line !== undefined) yield line;
    start = end + 1;
  }
}

function parseLine(raw: string, at: Place): Line | undefined {
  const text = withoutMark(raw);
  try {
    return { line: at.line, value: JSON.parse(text), text };
  } catch {
    return isBlank(text) ? undefined : { line: at.line, text, error: badJson(text, at) };
  }
}

function* parseBytes(bytes: Buffer, at: Place): Generator<Line> {
  for (const line of splitBytes(bytes)) {
    if (isUtf8(line)) yield* parseText(line.length === 0 ? '\n' : line.toString(), at);
    else {
      at.line += 1;
      yield { line: at.line, text: line.toString(), error: badUtf8(line, at) };
    }
  }
}

async function* noteBadBytes(chunks: Chunks, source: string, badLines: Map<number, RecordError>) {
  let line = 0;
  for await (const bytes of wholeLines(chunks)) {
    if (bytes === TOO_LONG)
      throw new RecordError({ source, line: line + 1 }, 'record', 'a shorter line', 'one too long');
    for (const lineBytes of splitBytes(bytes)) {
      line += 1;
      if (!isUtf8(lineBytes)) badLines.set(line, badUtf8(lineBytes, { source, line }));
    }
    yield bytes;
  }
}

function splitBytes(bytes: Buffer): Buffer[] {
  const lines: Buffer[] = [];
  for (let start = 0; start < bytes.length; ) {
    const newline = bytes.indexOf(NEWLINE, start);
    const end = newline === -1 ? bytes.length : newline;
    lines.push(bytes.subarray(start, end));
    start = end + 1;
  }
  return lines;
}

function withoutMark(text: string): string {
  return text.charCodeAt(0) === BYTE_ORDER_MARK ? text.slice(1) : text;
}

function isBlank(text: string): boolean {
  return text.trim() === '';
}

function badJson(text: string, at: Place): RecordError {
  return new RecordError(at, 'record', 'a JSON object', `bad JSON: ${describeJsonError(text)}`);
}

function badUtf8(line: Buffer, at: Place): RecordError {
  const utf16 = (line[0] === 0xff && line[1] === 0xfe) || (line[0] === 0xfe && line[1] === 0xff);
  const offset = firstBadByte(line);
  const got = utf16
    ? 'UTF-16 (a byte order mark)'
    : `byte 0x${line[offset]!.toString(16).padStart(2, '0')} at byte ${offset + 1} of the line`;
  return new RecordError(at, 'record', 'UTF-8', got);
}

/** Offset of the first byte that does not belong to a whole UTF-8 sequence. */
function firstBadByte(bytes: Buffer): number {
  let good = 0;
  let bad = bytes.length + 1;
  // Invariant: a prefix of `good` bytes is valid UTF-8, one of `bad` bytes is not.
  while (bad - good > 1) {
    const middle = (good + bad) >>> 1;
    if (isUtf8Prefix(bytes.subarray(0, middle))) good = middle;
    else bad = middle;
  }
  while (!isUtf8(bytes.subarray(0, good))) good -= 1;
  return good;
}

function isUtf8Prefix(bytes: Buffer): boolean {
  try {
    new TextDecoder('utf-8', { fatal: true }).decode(bytes, { stream: true });
    return true;
  } catch {
    return false;
  }
}

/** Throws if the value contains itself, with the place. */
function checkCircles(row: object): void {
  const path = findCircle(row, [], '');
  if (path === undefined) return;
  const id = isObject(row) && typeof row.id === 'string' ? ` of record ${JSON.stringify(row.id)}` : '';
  throw new RunError('not-json', `cannot be written as JSON: ${path}${id} refers back to itself`);
}

/** The path at which a value contains itself, or undefined. */
function findCircle(value: unknown, above: unknown[], path: string): string | undefined {
  if (typeof value !== 'object' || value === null) return undefined;
  if (above.includes(value)) return path;
  for (const [key, member] of Object.entries(value)) {
    const found = findCircle(member, [...above, value], joinPath(path, Array.isArray(value) ? `[${key}]` : key));
    if (found !== undefined) return found;
  }
  return undefined;
}
