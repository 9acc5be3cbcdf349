// SPDX-License-Identifier: Apache-2.0
// A file of answers, labels, grades, reviews or judgments in any form: NDJSON, one JSON array or object
// (Python's NaN included), a tab-separated table, a workbook.

import { createHash } from 'node:crypto';
import { inflateRawSync } from 'node:zlib';
import { parsePythonJson, withIds } from '../../python/literal.ts';
import { count } from '../../records/count.ts';
import { RecordError } from '../../records/error.ts';
import { describeValue, isObject, type Place } from '../../records/field.ts';
import { describeJsonError } from '../../records/json-error.ts';
import { readLines } from '../../records/lines.ts';

export type JsonObject = Record<string, unknown>;

export interface FileRow {
  value: JsonObject;
  /** 1-based line; of an array or an object of entries, the entry's number. */
  at: Place;
}

export interface EvalFile {
  path: string;
  /** Name without folders and extensions: "coco_pope_random". */
  stem: string;
  sha256: string;
  rows: FileRow[];
  /** The value, if the file is one JSON object. */
  object?: JsonObject;
}

/** Reads a file by its content; `path` is for messages, and its extension identifies tables. */
export async function parseEvalFile(path: string, bytes: Buffer): Promise<EvalFile> {
  const stem = path.replace(/^.*[\\/]/, '').replace(/\.(jsonl?|ndjson|tsv|csv|xlsx|txt)$/i, '');
  let hash: string | undefined;
  const file = {
    path,
    stem,
    // Only label files need a hash.
    get sha256() {
      hash ??= createHash('sha256').update(bytes).digest('hex');
      return hash;
    },
  };
  if (bytes.subarray(0, 4).equals(ZIP_MARK))
    return Object.assign(file, { rows: tableRows(readWorkbook(bytes, path), path) });
  if (/\.(tsv|csv)$/i.test(path))
    return Object.assign(file, {
      rows: tableRows(splitTable(bytes.toString(), /\.tsv$/i.test(path) ? '\t' : ','), path),
    });
  if (/\.txt$/i.test(path)) return Object.assign(file, { rows: listRows(bytes.toString(), path) });
  const first = firstLine(bytes);
  if (first.text.startsWith('[')) return Object.assign(file, { rows: arrayRows(parseWhole(bytes, path), path) });
  const alone = tryParse(first.text);
  if (alone === undefined && first.text.startsWith('{') && !first.isOnly) {
    const object = tryParse(textOf(bytes));
    if (isObject(object)) return oneObject(file, object);
    if (first.text.trim() === '{') parseWhole(bytes, path);
  }
  if (first.isOnly && isObject(alone)) return oneObject(file, alone);
  const rows = await lineRows(bytes, path);
  return Object.assign(file, { rows, ...(rows.length === 1 && { object: rows[0]!.value }) });
}

function oneObject(file: Omit<EvalFile, 'rows'>, object: JsonObject): EvalFile {
  return Object.assign(file, { rows: [{ value: object, at: { source: file.path, line: 1 } }], object });
}

/** The entries of an object of rows ({"v1_0": {...}}), each with its key. Throws RecordError for another kind of file or entry. */
export function objectEntries(file: EvalFile, expected: string): { key: string; value: JsonObject; at: Place }[] {
  if (file.object === undefined)
    throw new RecordError(
      { source: file.path, line: 1 },
      'file',
      `one JSON object, id -> ${expected}`,
      count(file.rows.length, 'row'),
    );
  return Object.entries(file.object).map(([key, value], index) => {
    const at = { source: file.path, line: index + 1 };
    if (!isObject(value)) throw new RecordError(at, key, expected, describeValue(value));
    return { key, value, at };
  });
}

async function lineRows(bytes: Buffer, path: string): Promise<FileRow[]> {
  const rows: FileRow[] = [];
  for await (const batch of readLines([bytes], path)) {
    for (const { line, value, text, error } of batch) {
      const at = { source: path, line };
      const read = error === undefined ? withIds(value, text) : tryParse(text);
      if (error !== undefined && read === undefined) throw error;
      if (!isObject(read)) throw new RecordError(at, 'record', 'a JSON object', describeValue(read));
      rows.push({ value: read, at });
    }
  }
  return rows;
}

function arrayRows(value: unknown, path: string): FileRow[] {
  return (value as unknown[]).map((entry, index) => {
    const at = { source: path, line: index + 1 };
    if (!isObject(entry)) throw new RecordError(at, 'entry', 'a JSON object', describeValue(entry));
    return { value: entry, at };
  });
}

function textOf(bytes: Buffer): string {
  return bytes.toString().replace(/^\ufeff/, '');
}

function tryParse(text: string): unknown {
  try {
    return parsePythonJson(text);
  } catch {
    return undefined;
  }
}

function parseWhole(bytes: Buffer, path: string): unknown {
  const text = textOf(bytes);
  try {
    return parsePythonJson(text);
  } catch {
    throw new RecordError({ source: path, line: 1 }, 'file', 'JSON', `bad JSON: ${describeJsonError(text)}`);
  }
}

/** The first line that is not blank, without a byte order mark. */
function firstLine(bytes: Buffer): { text: string; isOnly: boolean } {
  let start = bytes.subarray(0, 3).equals(UTF8_MARK) ? 3 : 0;
  while (start < bytes.length && bytes[start]! <= 0x20) start += 1;
  const newline = bytes.indexOf(0x0a, start);
  const end = newline === -1 ? bytes.length : newline;
  return { text: bytes.toString('utf8', start, end), isOnly: bytes.subarray(end).every((byte) => byte <= 0x20) };
}

const UTF8_MARK = Buffer.from([0xef, 0xbb, 0xbf]);
const ZIP_MARK = Buffer.from('PK\x03\x04', 'latin1');

/** Lines of names separated by commas, as in CHAIR's synonyms.txt. */
function listRows(text: string, path: string): FileRow[] {
  return text.split('\n').flatMap((line, index) => {
    const names = line.split(',').map((name) => name.trim());
    return names[0] === '' ? [] : [{ value: { names, line }, at: { source: path, line: index + 1 } }];
  });
}

/** Rows of cells, keyed by the first row. */
export function tableRows(cells: string[][], path: string): FileRow[] {
  const [header = [], ...rows] = cells;
  return rows.map((row, index) => ({
    value: Object.fromEntries(header.map((name, column) => [name, row[column] ?? ''])),
    at: { source: path, line: index + 2 },
  }));
}

/** Cells of a delimited table; a quoted cell may hold delimiters, line breaks and doubled quotes. */
export function splitTable(text: string, delimiter: string): string[][] {
  const rows: string[][] = [];
  let row: string[] = [];
  for (let at = text.startsWith('\ufeff') ? 1 : 0; at < text.length; ) {
    let cell: string;
    if (text[at] === '"') {
      let end = text.indexOf('"', at + 1);
      while (end !== -1 && text[end + 1] === '"') end = text.indexOf('"', end + 2);
      if (end === -1) end = text.length;
      cell = text.slice(at + 1, end).replaceAll('""', '"');
      at = end + 1;
      const rest = endOfCell(text, at, delimiter);
      cell += text.slice(at, rest);
      at = rest;
    } else {
      const end = endOfCell(text, at, delimiter);
      cell = text.slice(at, end);
      at = end;
    }
    const isEndOfRow = at >= text.length || text[at] === '\n';
    row.push(isEndOfRow && cell.endsWith('\r') ? cell.slice(0, -1) : cell);
    if (isEndOfRow) {
      if (row.length > 1 || row[0] !== '') rows.push(row);
      row = [];
    } else if (at + 1 >= text.length) row.push('');
    at += 1;
  }
  if (row.length > 0) rows.push(row);
  return rows;
}

function endOfCell(text: string, start: number, delimiter: string): number {
  const newline = text.indexOf('\n', start);
  const line = newline === -1 ? text.length : newline;
  const next = text.indexOf(delimiter, start);
  return next === -1 || next > line ? line : next;
}

/** Cells of the first sheet of an Office Open XML workbook, as text. */
function readWorkbook(bytes: Buffer, path: string): string[][] {
  const parts = zipParts(bytes, path);
  const sheetName = [...parts.keys()].filter((name) => /^xl\/worksheets\/[^/]+\.xml$/.test(name)).sort()[0];
  if (sheetName === undefined)
    throw new RecordError({ source: path, line: 1 }, 'file', 'a workbook with a sheet', 'a zip archive without one');
  const shared = [...xmlElements(parts.get('xl/sharedStrings.xml')?.() ?? '', 'si')].map(({ body }) => xmlText(body));
  return [...xmlElements(parts.get(sheetName)!(), 'row')].map(({ body }) => {
    const cells: string[] = [];
    for (const cell of xmlElements(body, 'c')) {
      const reference = /\br="([A-Z]+)/.exec(cell.attributes)?.[1];
      const column = reference === undefined ? cells.length : columnNumber(reference);
      while (cells.length < column) cells.push('');
      const type = /\bt="(\w+)"/.exec(cell.attributes)?.[1];
      const value = /<v[^>]*>([^<]*)<\/v>/.exec(cell.body)?.[1] ?? '';
      cells.push(
        type === 's' ? (shared[Number(value)] ?? '') : type === 'inlineStr' ? xmlText(cell.body) : unescapeXml(value),
      );
    }
    return cells;
  });
}

function* xmlElements(xml: string, name: string): Generator<{ attributes: string; body: string }> {
  for (const match of xml.matchAll(new RegExp(`<${name}(?:\\s([^>]*?))?(?:/>|>([\\s\\S]*?)</${name}>)`, 'g')))
    yield { attributes: match[1] ?? '', body: match[2] ?? '' };
}

function xmlText(body: string): string {
  return [...body.matchAll(/<t(?:\s[^>]*)?>([^<]*)<\/t>/g)].map((match) => unescapeXml(match[1]!)).join('');
}

const XML_NAMES: Record<string, string> = { amp: '&', lt: '<', gt: '>', quot: '"', apos: "'" };

function unescapeXml(text: string): string {
  return text
    .replace(/&(?:#x([0-9a-f]+)|#(\d+)|(\w+));/gi, (whole, hex, decimal, name) => {
      if (hex !== undefined) return String.fromCodePoint(Number.parseInt(hex, 16));
      return decimal !== undefined ? String.fromCodePoint(Number(decimal)) : (XML_NAMES[name] ?? whole);
    })
    .replace(/_x([0-9A-F]{4})_/g, (_, hex) => String.fromCharCode(Number.parseInt(hex, 16)));
}

function columnNumber(letters: string): number {
  let number = 0;
  for (const letter of letters) number = number * 26 + letter.charCodeAt(0) - 64;
  return number - 1;
}

/** The archive's members by name, unpacked on demand. */
function zipParts(bytes: Buffer, path: string): Map<string, () => string> {
  const bad = (got: string) => new RecordError({ source: path, line: 1 }, 'file', 'a workbook (.xlsx)', got);
  const end = bytes.lastIndexOf(Buffer.from('PK\x05\x06', 'latin1'));
  if (end === -1 || end + 22 > bytes.length) throw bad('a zip archive that is cut short');
  const parts = new Map<string, () => string>();
  let at = bytes.readUInt32LE(end + 16);
  for (let entry = 0; entry < bytes.readUInt16LE(end + 10); entry++) {
    if (at + 46 > bytes.length || bytes.readUInt32LE(at) !== 0x02014b50) throw bad('a zip archive with a broken index');
    const method = bytes.readUInt16LE(at + 10);
    const size = bytes.readUInt32LE(at + 20);
    const nameLength = bytes.readUInt16LE(at + 28);
    const header = bytes.readUInt32LE(at + 42);
    const name = bytes.toString('utf8', at + 46, at + 46 + nameLength);
    parts.set(name, () => {
      const start = header + 30 + bytes.readUInt16LE(header + 26) + bytes.readUInt16LE(header + 28);
      const packed = bytes.subarray(start, start + size);
      return (method === 0 ? packed : inflateRawSync(packed)).toString();
    });
    at += 46 + nameLength + bytes.readUInt16LE(at + 30) + bytes.readUInt16LE(at + 32);
  }
  return parts;
}
