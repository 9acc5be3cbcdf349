// SPDX-License-Identifier: Apache-2.0
// A word or phrase in normal form, for strict comparison.

/** In lower case, without outer blanks, closing marks and leading article; inner blanks collapse. */
export function strictShortAnswer(text: string): string {
  return text
    .toLowerCase()
    .replace(/\s+/gu, ' ')
    .replace(/^[\s"']+|[\s.!,;"']+$/gu, '')
    .replace(/^(?:a|an|the) (?=\S)/, '');
}
