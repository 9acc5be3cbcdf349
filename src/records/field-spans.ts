// SPDX-License-Identifier: Apache-2.0
// The places of a record's fields in its line, so that a field which a stage kept is copied, not printed.
import { MAX_DEPTH } from './exact.ts';
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

/** Of the fields in order: offsets of the first quote of the name, and after the value. */
export interface FieldSpans {
  starts: number[];
  ends: number[];
  /** Keys of all objects in the text; more than in its value if a key is repeated. */
  numKeys: number;
}

/**
 * The fields of a valid JSON object, in the order of the parsed object. Undefined for a text that JavaScript prints in
 * another form, apart from its numbers: with blanks or other escapes, or fields that a parsed object has in another order.
 */
export function fieldSpans(text: string): FieldSpans | undefined {
  if (text.charCodeAt(0) !== OPEN_BRACE) return undefined;
  if (text.includes('\\') && (text.includes('\\u') || text.includes('\\/'))) return undefined;
  const starts: number[] = [];
  const ends: number[] = [];
  let numKeys = 0;
  let depth = 1;
  let start = 1;
  for (let at = 1; ; at++) {
    const code = text.charCodeAt(at);
    if (code === QUOTE) at = closingQuote(text, at);
    else if (code === COLON) numKeys += 1;
    else if (code === COMMA) {
      if (depth > 1) continue;
      starts.push(start);
      ends.push(at);
      start = at + 1;
    } else if (code === OPEN_BRACE || code === OPEN_BRACKET) {
      depth += 1;
      if (depth > MAX_DEPTH) return undefined;
    } else if (code === CLOSE_BRACE || code === CLOSE_BRACKET) {
      depth -= 1;
      if (depth > 0) continue;
      starts.push(start);
      ends.push(at);
      break;
    } else if (code <= BLANK) return undefined;
  }
  return starts.some((place) => isDigit(text.charCodeAt(place + 1))) ? undefined : { starts, ends, numKeys };
}

const BLANK = 0x20;

/** A name that may be an index: objects have these first. */
const isDigit = (code: number) => code >= DIGIT_0 && code <= DIGIT_9;
