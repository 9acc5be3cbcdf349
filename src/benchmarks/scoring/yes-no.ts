// SPDX-License-Identifier: Apache-2.0
// Reads yes or no from an answer.

/** The first separate word yes or no; without one, a negated sentence is a no; else undefined. */
export function strictYesNo(text: string): 'yes' | 'no' | undefined {
  const words: string[] = text.toLowerCase().match(/[\p{L}\p{N}]+(?:['\u2019][\p{L}]+)?/gu) ?? [];
  const first = words.find((word) => word === 'yes' || word === 'no');
  if (first !== undefined && words.indexOf(first) === 0) return first as 'yes' | 'no';
  const negated = words.some((word) => word === 'not' || word === 'none' || /n['\u2019]t$/.test(word));
  if (first === 'no' || negated) return 'no';
  if (first === 'yes') return 'yes';
  return /^there (?:is|are)\b/i.test(text.trim()) ? 'yes' : undefined;
}
