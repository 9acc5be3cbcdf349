// SPDX-License-Identifier: Apache-2.0
// Distinguishes the words "A" and "I" ("A cat", "I think") from option letters.

const JOINING = /^\s+(?:because|since|as|and|or|but|for|which|given|due|if|when|while|rather|is|would|with)\b/;

/** Whether the letter at the end of this match is the article or the pronoun: a lower-case word follows it. */
export function isArticle(text: string, match: RegExpMatchArray): boolean {
  const letter = match[0].at(-1)!;
  if (letter !== 'A' && letter !== 'I') return false;
  const after = text.slice(match.index! + match[0].length, match.index! + match[0].length + 40);
  return /^\s+\p{Ll}/u.test(after) && (letter === 'I' || !JOINING.test(after));
}
