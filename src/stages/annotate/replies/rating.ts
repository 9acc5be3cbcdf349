// SPDX-License-Identifier: Apache-2.0
// `reply: rating`: MT-Bench's [[7]], or [7] if there are no double brackets; 1 to 10.
import { type ReadResult, type ReplyReader, unread } from './reading.ts';

export const ratingReply: ReplyReader = { read: readRating };

const NUMBER = '(\\d+(?:\\.\\d*)?)';
const DOUBLE = new RegExp(`\\[\\[\\s*${NUMBER}\\s*\\]\\]`, 'g');
/** Single brackets also mark steps and sources, so they count only after "rating" or alone on a line. */
const SINGLE = new RegExp(
  `(?:\\b(?:rating|score)\\b\\W{0,8}|^\\W*)\\[\\s*${NUMBER}\\s*\\](?!\\])(?=\\W|$)(?!.*\\w)`,
  'gim',
);
/** Ratings in words, which must agree with the brackets. */
const SPOKEN = [
  new RegExp(`\\b(?:rating|score)\\b(?:\\s+(?:is|of|would be))?\\W{0,8}${NUMBER}`, 'gi'),
  new RegExp(`\\brate\\b[^.\\n]{0,40}?\\b${NUMBER}`, 'gi'),
  new RegExp(`(?<![\\d.])${NUMBER}\\s*(?:/|out of)\\s*10\\b`, 'gi'),
];

function readRating(text: string): ReadResult {
  const double = numbersOf(text, DOUBLE);
  const bracketed = double.length > 0 ? double : numbersOf(text, SINGLE);
  const ratings = new Set([...bracketed, ...SPOKEN.flatMap((pattern) => numbersOf(text, pattern))]);
  const [rating] = bracketed;
  if (rating === undefined || ratings.size !== 1 || !(rating >= 1 && rating <= 10))
    return unread('exactly one rating, as [[1]] to [[10]]', text.trim().slice(-80));
  return { reading: { scores: [{ rating }] } };
}

function numbersOf(text: string, pattern: RegExp): number[] {
  return [...text.matchAll(pattern)].map((match) => Number(match[1]));
}
