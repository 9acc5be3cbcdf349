// SPDX-License-Identifier: Apache-2.0
// A word or phrase as a careful reader compares it.

/** In lower case, without outer blanks and closing marks, inner blanks as one, and without a leading article. */
export function strictShortAnswer(text: string): string {
  return text
    .toLowerCase()
    .replace(/\s+/gu, ' ')
    .replace(/^[\s"']+|[\s.!,;"']+$/gu, '')
    .replace(/^(?:a|an|the) (?=\S)/, '');
}
