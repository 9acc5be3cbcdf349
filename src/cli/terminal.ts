// SPDX-License-Identifier: Apache-2.0
// Text for a terminal: messages and tables hold text from data, judges and servers, which must not control it.

// C0 but tab and newline, DEL, C1; marks, embeddings, overrides and isolates of text direction; other line ends.
const STEERS = /(?![\n\t])[\p{Cc}\p{Bidi_Control}\u2028\u2029]/gu;

/** The text with control characters escaped, as in a string: "\x1b", "\u202e". */
export function visible(text: string): string {
  return text.replace(STEERS, (char) => {
    const code = char.charCodeAt(0);
    return code < 0x100 ? `\\x${code.toString(16).padStart(2, '0')}` : `\\u${code.toString(16).padStart(4, '0')}`;
  });
}

/** A message as one line for stderr. */
export function messageLine(label: string, message: string): string {
  return `${label}: ${visible(message)}\n`;
}
