// SPDX-License-Identifier: Apache-2.0
// Finds the option that an answer selects, for benchmarks with lettered options.

import { RecordError } from '../../records/error.ts';
import { describeValue } from '../../records/field.ts';
import { isArticle } from '../../text/article.ts';
import type { Answer } from './answers.ts';

export const LETTERS = [...'ABCDEFGHIJKLMNOPQRSTUVWXYZ'];

const FULL_WIDTH = /[\uff01-\uff5e]/g;

/**
 * Strict mode's letter, or undefined: a letter first and separate ("B", "(b)", "B.", "B: a cat"),
 * "the answer is B", else the one option whose whole text the answer gives, else a single capital letter in brackets.
 */
export function strictLetter(text: string, choices: readonly string[]): string | undefined {
  const letters = LETTERS.slice(0, choices.length);
  const plain = text.replace(FULL_WIDTH, (char) => String.fromCharCode(char.charCodeAt(0) - 0xfee0)).trim();
  const isChoice = (letter: string | undefined) => letter !== undefined && letters.includes(letter.toUpperCase());
  const alone = /^[([{*]*\s*([A-Za-z])\s*[)\]}*]*[.:,)]?\s*$/.exec(plain)?.[1];
  if (isChoice(alone)) return alone!.toUpperCase();
  const said = [...plain.matchAll(/(?:answer|option|choice)(?:\s+is)?\s*:?\s*[([{*"']*([A-Za-z])(?![\p{L}\p{N}'])/giu)]
    .filter((match) => !isArticle(plain, match))
    .map((match) => match[1]!)
    .filter((letter) => letter === letter.toUpperCase() && isChoice(letter));
  if (new Set(said).size === 1) return said[0];
  if (said.length > 1) return undefined;
  const leading = /^[([{*]*([A-Z])[)\]}*]*[.:)\]\n]/.exec(plain)?.[1];
  if (isChoice(leading)) return leading;
  const lower = normalise(plain);
  const exact = letters.filter((_, index) => normalise(choices[index]!) === lower);
  if (exact.length === 1) return exact[0];
  const bracketed = new Set([...plain.matchAll(/\(([A-Z])\)/g)].map((match) => match[1]!).filter(isChoice));
  if (bracketed.size === 1) return [...bracketed][0];
  const contained = letters.filter((_, index) => containsWords(lower, normalise(choices[index]!)));
  // "red" is also in "dark red": of options that contain each other the longest counts.
  const longest = contained.filter(
    (letter) => !contained.some((other) => other !== letter && includesChoice(choices, letters, other, letter)),
  );
  return longest.length === 1 ? longest[0] : undefined;
}

function includesChoice(choices: readonly string[], letters: string[], outer: string, inner: string): boolean {
  return normalise(choices[letters.indexOf(outer)]!).includes(normalise(choices[letters.indexOf(inner)]!));
}

function normalise(text: string): string {
  return text
    .toLowerCase()
    .replace(/[\s.!?,;:]+$/u, '')
    .replace(/\s+/gu, ' ')
    .trim();
}

function containsWords(text: string, words: string): boolean {
  if (words === '') return false;
  const at = text.indexOf(words);
  if (at === -1) return false;
  const isLetter = (char: string | undefined) => char !== undefined && /[a-z0-9]/.test(char);
  return !isLetter(text[at - 1]) && !isLetter(text[at + words.length]);
}

/** The letter of the most likely option, from `score`'s choice_logps; undefined if the record has none. */
export function likeliestLetter(answer: Answer): string | undefined {
  const logps = answer.record?.choice_logps;
  if (logps === undefined) return undefined;
  const best = logps.reduce((top, value, index) => (value > logps[top]! ? index : top), 0);
  if (logps.length === 0 || logps.some((value) => typeof value !== 'number'))
    throw new RecordError(answer.at, 'choice_logps', 'a number for each choice', describeValue(logps));
  return LETTERS[best];
}
