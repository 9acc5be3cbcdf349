// SPDX-License-Identifier: Apache-2.0
// Lossless JSON: numbers that JavaScript would write differently (1.0, integers beyond 2^53) keep their text beside
// the value. A repeated key or too deep nesting is an error of the row, neither ignored nor fatal.
import { joinPath, type Problem } from './field.ts';
import {
  CLOSE_BRACE,
  CLOSE_BRACKET,
  COLON,
  COMMA,
  closingQuote,
  DIGIT_0,
  DIGIT_9,
  OPEN_BRACE,
  OPEN_BRACKET,
  QUOTE,
} from './json-chars.ts';

/** Maximum nesting of rewritten values, because JavaScript writes JSON, and Python reads it, by recursion. */
export const MAX_DEPTH = 1000;

// Texts of numbers, keyed by the containing object or array and the key or index. The values are ordinary numbers, so
// computing code needs no change; only ids and writers use the texts.
const texts = new WeakMap<object, Map<string, string>>();
let hasTexts = false;

/** Remembers how the number holder[key] was written. */
export function noteNumber(holder: object, key: string | number, text: string): void {
  const known = texts.get(holder) ?? new Map<string, string>();
  texts.set(holder, known.set(String(key), text));
  hasTexts = true;
}

/** The number holder[key] as it was written. */
export function numberText(holder: object, key: string | number): string {
  const value = (holder as Record<string, unknown>)[key];
  const text = texts.get(holder)?.get(String(key));
  return text !== undefined && Object.is(Number(text), value) ? text : String(value);
}

/** `to`, a copy of (part of) `from`, with its numbers' texts. */
export function withNumbersOf<T extends object>(from: object, to: T): T {
  for (const [key, text] of texts.get(from) ?? []) if (Object.hasOwn(to, key)) noteNumber(to, key, text);
  return to;
}

/** JSON.parse with the numbers' texts. Throws SyntaxError for invalid JSON and ExactError for refused values. */
export function parseExact(text: string): unknown {
  const value: unknown = JSON.parse(text);
  const problem = noteNumbers(value, text);
  if (problem !== undefined) throw new ExactError(problem);
  return value;
}

export class ExactError extends Error {
  readonly problem: Problem;
  constructor(problem: Problem) {
    super(`${problem.path}: expected ${problem.expected}, got ${problem.got}`);
    this.problem = problem;
  }
}

/** JSON.stringify that writes numbers with their original text. */
export function stringifyExact(value: unknown): string {
  if (!hasTexts) return JSON.stringify(value);
  let isMarked = false;
  const line = JSON.stringify(value, function (this: object, key: string, member: unknown) {
    const text = typeof member === 'number' ? texts.get(this)?.get(key) : undefined;
    if (text === undefined || !Object.is(Number(text), member)) return member;
    isMarked = true;
    marks ??= newMarks();
    return marks.mark + text;
  });
  return isMarked ? line.replace(marks!.marked, '$1') : line;
}

// Random per run, so no input can contain it. Made at first use, because it loads node:crypto.
let marks: { mark: string; marked: RegExp } | undefined;

function newMarks() {
  const mark = `number ${crypto.randomUUID()} `;
  return { mark, marked: new RegExp(`"${mark}([^"]*)"`, 'g') };
}

interface Level {
  /** Index of its opening bracket. */
  open: number;
  holder: Record<string, unknown>;
  isArray: boolean;
  key: string;
  numKeys: number;
}

/**
 * Walks the text of valid JSON and records its numbers. A problem is a repeated key (of which
 * JSON.parse keeps one) or nesting beyond MAX_DEPTH.
 */
export function noteNumbers(value: unknown, text: string): Problem | undefined {
  return walk(value, text, { notes: true, maxDepth: MAX_DEPTH });
}

/** The problem of a repeated key, at any depth. */
export function repeatedKey(value: unknown, text: string): Problem | undefined {
  // Every key of the text is among its quotes before a colon. As many as parsed keys: no key was lost.
  if (numQuotesBeforeColon(text) === numKeys(value)) return undefined;
  return walk(value, text, { notes: false, maxDepth: Number.POSITIVE_INFINITY });
}

function numQuotesBeforeColon(text: string): number {
  let count = 0;
  for (let at = text.indexOf('"'); at >= 0; at = text.indexOf('"', at + 1)) {
    if (isBeforeColon(text, at)) count += 1;
  }
  return count;
}

function isBeforeColon(text: string, at: number): boolean {
  let next = at + 1;
  while (BLANKS.has(text.charCodeAt(next))) next += 1;
  return text.charCodeAt(next) === COLON;
}

const BLANKS: ReadonlySet<number> = new Set([0x20, 0x09, 0x0a, 0x0d]);

/** Keys of all objects in the value. */
export function numKeys(value: unknown): number {
  let count = 0;
  const left = isHolder(value) ? [value] : [];
  while (left.length > 0) {
    const holder = left.pop()!;
    if (Array.isArray(holder)) {
      for (const member of holder) if (isHolder(member)) left.push(member);
      continue;
    }
    for (const key in holder) {
      count += 1;
      const member: unknown = holder[key as never];
      if (isHolder(member)) left.push(member);
    }
  }
  return count;
}

const isHolder = (value: unknown): value is object => typeof value === 'object' && value !== null;

/** The id holder[key] as text: an integer with all its digits. */
export function idText(holder: object, key: string): string {
  const text = numberText(holder, key);
  return /^-?\d+$/.test(text) ? text : String((holder as Record<string, unknown>)[key]);
}

function walk(
  value: unknown,
  text: string,
  { notes, maxDepth }: { notes: boolean; maxDepth: number },
): Problem | undefined {
  const root: Level = { open: 0, holder: { '': value }, isArray: true, key: '', numKeys: 0 };
  const levels: Level[] = [];
  let level = root;
  let expectsKey = false;
  let problem: Problem | undefined;
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code === QUOTE) {
      const end = closingQuote(text, at);
      if (expectsKey) {
        level.key = keyOf(text.slice(at, end + 1));
        level.numKeys += 1;
        expectsKey = false;
      }
      at = end;
    } else if (code === OPEN_BRACE || code === OPEN_BRACKET) {
      if (levels.length >= maxDepth)
        return {
          path: levels[1]?.key ?? '',
          expected: `values nested at most ${MAX_DEPTH} levels deep`,
          got: 'deeper ones',
        };
      levels.push(level);
      const isArray = code === OPEN_BRACKET;
      level = { open: at, holder: holderOf(level.holder[level.key]), isArray, key: isArray ? '0' : '', numKeys: 0 };
      expectsKey = !isArray;
    } else if (code === CLOSE_BRACE || code === CLOSE_BRACKET) {
      if (!level.isArray && level.numKeys !== Object.keys(level.holder).length) {
        const got = repeated(text, level.open, at);
        if (got !== undefined) problem ??= { path: pathOf(levels.slice(1)), expected: 'each key once', got };
      }
      level = levels.pop()!;
      expectsKey = false;
    } else if (code === COMMA) {
      if (level.isArray) level.key = String(Number(level.key) + 1);
      else expectsKey = true;
    } else if (code === MINUS || (code >= DIGIT_0 && code <= DIGIT_9)) {
      const end = numberEnd(text, at);
      const digits = text.slice(at, end);
      if (notes && level !== root && String(level.holder[level.key]) !== digits)
        noteNumber(level.holder, level.key, digits);
      at = end - 1;
    }
  }
  return problem;
}

// JSON.parse keeps the last value of a repeated key, so the first one's text may belong to a dropped object.
function holderOf(value: unknown): Level['holder'] {
  return (typeof value === 'object' && value !== null ? value : {}) as Level['holder'];
}

const MINUS = 0x2d;

function numberEnd(text: string, from: number): number {
  let end = from + 1;
  while (end < text.length && NUMBER_CHARS.has(text.charCodeAt(end))) end += 1;
  return end;
}

const NUMBER_CHARS: ReadonlySet<number> = new Set([...'0123456789+-.eE'].map((char) => char.charCodeAt(0)));

function keyOf(quoted: string): string {
  return quoted.includes('\\') ? JSON.parse(quoted) : quoted.slice(1, -1);
}

function pathOf(levels: readonly Level[]): string {
  return levels.reduce((path, { isArray, key }) => joinPath(path, isArray ? `[${key}]` : key), '');
}

/** The repeated key of the object from `open` to `close`. */
function repeated(text: string, open: number, close: number): string | undefined {
  const seen = new Set<string>();
  for (const key of keysBetween(text, open, close)) {
    if (seen.has(key)) return `${JSON.stringify(key)} twice`;
    seen.add(key);
  }
  return undefined;
}

/** The keys of the object from `begin` to `close`. */
function keysBetween(text: string, begin: number, close: number): string[] {
  const open: string[][] = [];
  for (let at = begin; at <= close; at++) {
    const code = text.charCodeAt(at);
    if (code === QUOTE) {
      const end = closingQuote(text, at);
      if (isBeforeColon(text, end)) open.at(-1)?.push(keyOf(text.slice(at, end + 1)));
      at = end;
    } else if (code === OPEN_BRACE || code === OPEN_BRACKET) open.push([]);
    else if (code === CLOSE_BRACE || code === CLOSE_BRACKET) {
      const keys = open.pop()!;
      if (at === close) return keys;
    }
  }
  return [];
}
