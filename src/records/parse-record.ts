// SPDX-License-Identifier: Apache-2.0
// Converts a parsed line to a record, and a record to text.
import { RunError } from './error.ts';
import { numKeys, repeatedKey } from './exact.ts';
import { checkShape, isObject, type Place } from './field.ts';
import { fieldSpans } from './field-spans.ts';
import { CLOSE_BRACE, CLOSE_BRACKET, COMMA, closingQuote, OPEN_BRACE, OPEN_BRACKET, QUOTE } from './json-chars.ts';
import { formatLine } from './lines.ts';
import type { VprefRecord } from './record.ts';
import { recordShape } from './record-shape.ts';

/** The record on a line, checked field by field; unknown fields are kept. Throws RecordError. */
export function parseRecord(value: unknown, at: Place): VprefRecord {
  // A row that failed earlier passes unchanged: only its id is checked.
  if (isObject(value) && isObject(value.error) && typeof value.id === 'string') return value as unknown as VprefRecord;
  return checkShape(recordShape, value, at) as VprefRecord;
}

/** A line of input and its parsed record. The record must not be changed in place. */
export interface InputText {
  text: string;
  record: object;
}

/**
 * One record as a line of JSON without its newline. Fields unchanged from `input` are written with their original text.
 * Throws RunError for a value that JSON cannot represent.
 */
export function formatRecord(record: object, input?: InputText): string {
  if (input === undefined) return formatLine(record);
  const appended = formatAppended(record as Members, input);
  if (appended !== undefined) return appended;
  const kept = formatKept(record as Members, input);
  if (kept !== undefined) return kept;
  // The rest is written from values, which have lost one of two repeated keys.
  const problem = repeatedKey(input.record, input.text);
  if (problem !== undefined)
    throw new RunError('not-json', `${problem.path || 'record'}: expected ${problem.expected}, got ${problem.got}`);
  const verbatim = verbatimFields(input.text, input.record);
  return verbatim === undefined ? formatLine(record) : formatVerbatim(record, verbatim);
}

type Members = Record<string, unknown>;

/** Fast path for a record that is the input with additional last fields, or another id: the input's text, then these fields. */
function formatAppended(record: Members, { text, record: input }: InputText): string | undefined {
  const names = Object.keys(record);
  let count = 0;
  let start = 0;
  let head = '';
  for (const name in input) {
    const value = (input as Members)[name];
    if (names[count] !== name) return undefined;
    count += 1;
    if (record[name] === value) continue;
    const opening = `{"id":${JSON.stringify(value)}`;
    if (name !== 'id' || count !== 1 || !text.startsWith(opening)) return undefined;
    head = `{"id":${JSON.stringify(record.id)}`;
    start = opening.length;
  }
  const end = text.lastIndexOf('}');
  let line = head + text.slice(start, end).trim();
  for (; count < names.length; count++) line += member(names[count]!, record[names[count]!]);
  return `${line}}`;
}

/** Fast path for a text that JavaScript would print alike: a kept field is copied from it. */
function formatKept(record: Members, { text, record: values }: InputText): string | undefined {
  const spans = fieldSpans(text);
  // Fewer keys than in the text: one is repeated.
  if (spans === undefined || spans.numKeys !== numKeys(values)) return undefined;
  const input = values as Members;
  const names = Object.keys(input);
  let line = '';
  for (const name of Object.keys(record)) {
    const value = record[name];
    const place = names.indexOf(name);
    const kept = place < 0 ? '' : text.slice(spans.starts[place], spans.ends[place]);
    if (place >= 0 && value === input[name]) line += `,${kept}`;
    // A copy of a field keeps the text of its numbers too.
    else if (typeof value === 'object' && isRisky(`${kept},`)) return undefined;
    else line += member(name, value);
  }
  return `{${line.slice(1)}}`;
}

/** A field after another one. */
function member(name: string, value: unknown): string {
  return value === undefined ? '' : `,${JSON.stringify(name)}:${formatValue(value)}`;
}

function formatValue(value: unknown): string {
  return typeof value === 'object' && value !== null ? formatLine(value) : JSON.stringify(value);
}

/** Top-level fields whose numbers JavaScript would rewrite (1.0, 1e5, 19-digit integers): name -> original text. */
export type VerbatimFields = Map<string, { parsed: string; text: string }>;

// Numbers that JSON.stringify may not reproduce; verbatimFields decides. The pattern is V8's fastest form: written-out
// digits take a tenth of the time of \d{16}.
const riskyForm = /\.\d*0[,\]}\s]|\d[eE][-+\d]|-0[,\]}\s]|0\.0{6}/;
const riskyLength = /\d\d\d\d\d\d\d\d\d\d\d\d\d\d\d\d/;
const isRisky = (text: string) => riskyForm.test(text) || riskyLength.test(text);

/** The fields of a line that must keep their text, or undefined if there is none. */
export function verbatimFields(text: string, value: unknown): VerbatimFields | undefined {
  if (!isRisky(text) || !isObject(value)) return undefined;
  const fields: VerbatimFields = new Map();
  for (const [name, fieldText] of topLevelFields(text)) {
    if (!isRisky(`${fieldText},`)) continue;
    const parsed = JSON.stringify(value[name]);
    if (parsed !== fieldText) fields.set(name, { parsed, text: fieldText });
  }
  return fields.size > 0 ? fields : undefined;
}

// A field changed by a stage prints differently than when parsed, so it is written from its value.
function formatVerbatim(record: object, verbatim: VerbatimFields): string {
  const members: string[] = [];
  for (const [name, value] of Object.entries(record)) {
    if (value === undefined) continue;
    const printed = formatValue(value);
    const original = verbatim.get(name);
    members.push(`${JSON.stringify(name)}:${original?.parsed === printed ? original.text : printed}`);
  }
  return `{${members.join(',')}}`;
}

/** Name and text of each member of a valid JSON object. */
function* topLevelFields(text: string): Generator<[name: string, text: string]> {
  let depth = 0;
  let name: string | undefined;
  let start = 0;
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code === QUOTE) {
      const end = closingQuote(text, at);
      if (depth === 1 && name === undefined) {
        name = JSON.parse(text.slice(at, end + 1));
        start = text.indexOf(':', end) + 1;
      }
      at = end;
    } else if (code === OPEN_BRACE || code === OPEN_BRACKET) depth += 1;
    else if (code === CLOSE_BRACE || code === CLOSE_BRACKET || code === COMMA) {
      if (depth === 1 && name !== undefined) {
        yield [name, text.slice(start, at).trim()];
        name = undefined;
      }
      if (code !== COMMA) depth -= 1;
    }
  }
}
