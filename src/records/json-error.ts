// SPDX-License-Identifier: Apache-2.0
// Finds the position of a JSON error. V8's message has no position for short lines, and differs by version.

/** The error in text that JSON.parse refuses, with its 1-based column. */
export function describeJsonError(text: string): string {
  const at = firstBadOffset(text);
  if (at >= text.length) return `the line ends at column ${text.length} before the value does`;
  const shown = JSON.stringify(String.fromCodePoint(text.codePointAt(at)!));
  return `unexpected ${shown} at column ${at + 1}`;
}

type Expecting = 'value' | 'first item' | 'key' | 'first key' | 'colon' | 'comma' | 'end';

/** Offset of the first character that no JSON text could have there; the length if the text is truncated. */
function firstBadOffset(text: string): number {
  const open: ('{' | '[')[] = [];
  let expecting: Expecting = 'value';
  for (let at = skipBlanks(text, 0); at < text.length; at = skipBlanks(text, at)) {
    const char = text[at]!;
    const isClose = char === '}' || char === ']';
    if (isClose && open.at(-1) === (char === '}' ? '{' : '[') && /first|comma/.test(expecting)) {
      open.pop();
      expecting = open.length === 0 ? 'end' : 'comma';
      at += 1;
    } else if (expecting === 'comma' && char === ',') {
      expecting = open.at(-1) === '{' ? 'key' : 'value';
      at += 1;
    } else if (expecting === 'colon' && char === ':') {
      expecting = 'value';
      at += 1;
    } else if (expecting === 'key' || expecting === 'first key') {
      if (char !== '"') return at;
      const end = stringEnd(text, at);
      if (end.bad !== undefined) return end.bad;
      at = end.next;
      expecting = 'colon';
    } else if (expecting === 'value' || expecting === 'first item') {
      if (char === '{' || char === '[') {
        open.push(char);
        expecting = char === '{' ? 'first key' : 'first item';
        at += 1;
        continue;
      }
      const end = char === '"' ? stringEnd(text, at) : scalarEnd(text, at);
      if (end.bad !== undefined) return end.bad;
      at = end.next;
      expecting = open.length === 0 ? 'end' : 'comma';
    } else return at;
  }
  return text.length;
}

interface End {
  next: number;
  bad?: number;
}

function stringEnd(text: string, opening: number): End {
  for (let at = opening + 1; at < text.length; at++) {
    const char = text[at]!;
    if (char === '"') return { next: at + 1 };
    if (char < ' ') return { next: at, bad: at };
    if (char !== '\\') continue;
    const escaped = /^(?:["\\/bfnrt]|u[0-9a-fA-F]{0,4})?/.exec(text.slice(at + 1, at + 6))![0];
    const end = at + 1 + escaped.length;
    const isWhole = escaped.length === (escaped.startsWith('u') ? 5 : 1);
    if (!isWhole) return { next: at, bad: end };
    at = end - 1;
  }
  return { next: text.length, bad: text.length };
}

function scalarEnd(text: string, at: number): End {
  const word = /true|false|null|-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?/y;
  // The start of a scalar, or all of it.
  const begun =
    /t(?:r(?:ue?)?)?|f(?:a(?:l(?:se?)?)?)?|n(?:u(?:ll?)?)?|-?(?:(?:0|[1-9]\d*)(?:\.(?:\d+(?:[eE][+-]?\d*)?)?|[eE][+-]?\d*)?)?/y;
  word.lastIndex = at;
  begun.lastIndex = at;
  const wordEnd = word.test(text) ? word.lastIndex : at;
  const begunEnd = begun.test(text) ? begun.lastIndex : at;
  return wordEnd > at && wordEnd >= begunEnd ? { next: wordEnd } : { next: at, bad: begunEnd };
}

function skipBlanks(text: string, at: number): number {
  while (at < text.length && ' \t\r\n'.includes(text[at]!)) at += 1;
  return at;
}
