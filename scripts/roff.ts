// SPDX-License-Identifier: Apache-2.0
// Text to roff as it stands in a manual page, and back.

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

/** What verbatim() made a line of. */
export function unroff(line: string): string {
  return line
    .replace(/^\\&/, '')
    .replace(/\\(?:\(..|[e-])/g, (code) => ESCAPES.find(([, known]) => known === code)?.[0] ?? code);
}
