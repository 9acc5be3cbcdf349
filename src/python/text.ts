// SPDX-License-Identifier: Apache-2.0
// Python's str methods that differ from JavaScript's. Checked against CPython by scripts/goldens/eval.py
// (fixtures/golden/eval/python.json), like all files of this folder.

/** str.isspace() and \s of Python's re, for a character class: JavaScript's \s lacks U+001C-U+001F and U+0085 and has U+FEFF. */
export const PYTHON_SPACE = '\\t-\\r\\x1c-\\x20\\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000';
const SPACES = new RegExp(`[${PYTHON_SPACE}]+`, 'u');
const OUTER_SPACES = new RegExp(`^[${PYTHON_SPACE}]+|[${PYTHON_SPACE}]+$`, 'gu');

/** What float(text) strips: less than str.strip(), not U+001C-U+001F. */
export const OUTER_FLOAT_SPACES = new RegExp(OUTER_SPACES.source.replaceAll('\\x1c-\\x20', ' '), 'gu');

/** str.strip(). */
export function pythonStrip(text: string): string {
  return text.replace(OUTER_SPACES, '');
}

/** str.split() without an argument: splits at runs of white space, without empty words. */
export function pythonSplit(text: string): string[] {
  return text.split(SPACES).filter((word) => word !== '');
}

/** len(str): code points, not UTF-16 units. */
export function pythonLength(text: string): number {
  let length = text.length;
  for (let index = 0; index + 1 < text.length; index++) {
    const unit = text.charCodeAt(index);
    if (unit < 0xd800 || unit > 0xdbff) continue;
    const next = text.charCodeAt(index + 1);
    if (next < 0xdc00 || next > 0xdfff) continue;
    length -= 1;
    index += 1;
  }
  return length;
}
