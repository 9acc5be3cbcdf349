// SPDX-License-Identifier: Apache-2.0
// Parses values written by Python: json.dumps (NaN included) and repr.
import { noteNumbers } from '../records/exact.ts';

/** json.loads: JSON, and the NaN, Infinity and -Infinity that json.dumps writes. Throws SyntaxError as JSON.parse. */
export function parsePythonJson(text: string): unknown {
  try {
    return withIds(JSON.parse(text), text);
  } catch (error) {
    let found = false;
    const mark = '\u0000python:';
    const quoted = text.replace(/"(?:[^"\\]|\\.)*"|-?\bInfinity\b|\bNaN\b/gs, (token) => {
      if (token.startsWith('"')) return token;
      found = true;
      return JSON.stringify(mark + token);
    });
    if (!found) throw error;
    const value = JSON.parse(quoted, (_, value) =>
      typeof value === 'string' && value.startsWith(mark) ? Number(value.slice(mark.length)) : value,
    );
    return withIds(value, quoted);
  }
}

/** The value parsed from the text; ids too large for a number keep their digits (idText). */
export function withIds(value: unknown, text: string): unknown {
  if (/\d{16}/.test(text)) noteNumbers(value, text);
  return value;
}

/** ast.literal_eval of lists, tuples, dicts, strings, numbers, True, False and None; undefined if it raises. */
export function pythonLiteral(text: string): unknown {
  const tokens = text.match(LITERAL_TOKEN);
  if (tokens === null || tokens.join('') !== text) return undefined;
  const kept = tokens.filter((token) => !/^\s+$/.test(token));
  let at = 0;

  function parseValue(): unknown {
    const token = kept[at++];
    if (token === undefined) throw new SyntaxError('unexpected end');
    if (token === '[' || token === '(') return parseSequence(token === '[' ? ']' : ')');
    if (token === '{') return parseDict();
    if (/^[rbu]*['"]/i.test(token)) return parseStrings(token);
    if (token === '-' || token === '+') return (token === '-' ? -1 : 1) * Number(parseValue());
    if (token in CONSTANTS) return CONSTANTS[token];
    // Python has no integers with leading zeros.
    if (/^\d/.test(token) && !/^0\d+$/.test(token)) return Number(token.replaceAll('_', ''));
    if (/^\.\d/.test(token)) return Number(token);
    throw new SyntaxError(token);
  }
  function parseStrings(first: string): string {
    let value = unquote(first);
    while (/^['"]/.test(kept[at] ?? '')) value += unquote(kept[at++]!);
    return value;
  }
  function parseSequence(close: string): unknown[] {
    const values: unknown[] = [];
    while (kept[at] !== close) {
      values.push(parseValue());
      if (kept[at] === ',') at += 1;
      else if (kept[at] !== close) throw new SyntaxError('expected ,');
    }
    at += 1;
    return values;
  }
  function parseDict(): Record<string, unknown> {
    const members: Record<string, unknown> = {};
    while (kept[at] !== '}') {
      const key = String(parseValue());
      if (kept[at++] !== ':') throw new SyntaxError('expected :');
      members[key] = parseValue();
      if (kept[at] === ',') at += 1;
      else if (kept[at] !== '}') throw new SyntaxError('expected ,');
    }
    at += 1;
    return members;
  }
  try {
    const value = parseValue();
    return at === kept.length ? value : undefined;
  } catch {
    return undefined;
  }
}

const CONSTANTS: Record<string, unknown> = { True: true, False: false, None: null };
const LITERAL_TOKEN =
  /\s+|[[\](){},:+-]|'(?:[^'\\\n]|\\[\s\S])*'|"(?:[^"\\\n]|\\[\s\S])*"|(?:\d[\d_]*\.?\d*|\.\d+)(?:[eE][+-]?\d+)?|True|False|None/g;
const ESCAPES: Record<string, string> = { n: '\n', t: '\t', r: '\r', b: '\b', f: '\f', v: '\v', a: '\x07', '0': '\0' };

function unquote(token: string): string {
  return token
    .slice(1, -1)
    .replace(/\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|([\s\S]))/g, (whole, hex, wide, single) => {
      if (hex ?? wide) return String.fromCodePoint(Number.parseInt(hex ?? wide, 16));
      if (single === '\n') return '';
      return ESCAPES[single] ?? (single === "'" || single === '"' || single === '\\' ? single : whole);
    });
}
