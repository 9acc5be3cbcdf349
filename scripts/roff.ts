// SPDX-License-Identifier: Apache-2.0
// Converts text to roff for manual pages, and back.

const ESCAPES: [string, string][] = [
  ['\\', '\\e'],
  ['-', '\\-'],
  ["'", '\\(aq'],
  ['^', '\\(ha'],
  ['~', '\\(ti'],
  ['`', '\\(ga'],
];

export function roff(text: string): string {
  return ESCAPES.reduce((escaped, [plain, code]) => escaped.replaceAll(plain, code), text);
}

/** A line that begins with a dot would be a request. */
export function guard(line: string): string {
  return /^[.']/.test(line) ? `\\&${line}` : line;
}

/** A line of a code block. */
export function verbatim(line: string): string {
  return guard(roff(line));
}

/** The inverse of verbatim(). */
export function unroff(line: string): string {
  return line
    .replace(/^\\&/, '')
    .replace(/\\(?:\(..|[e-])/g, (code) => ESCAPES.find(([, known]) => known === code)?.[0] ?? code);
}
