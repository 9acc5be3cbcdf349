// SPDX-License-Identifier: Apache-2.0
// `reply: two-scores`: LLaVA-Bench, the scores of the reference and the response on the first line, 1 to 10.
import { type ReadResult, type ReplyReader, unread } from './reading.ts';

export const twoScoresReply: ReplyReader = { read: readTwoScores };

function readTwoScores(text: string): ReadResult {
  const firstLine = text.trimStart().split('\n')[0]!;
  const words = firstLine.split(/[\s,]+/).filter((word) => word !== '');
  const numbers = words.map((word) => (/^\d+(\.\d+)?$/.test(word) ? Number(word) : Number.NaN));
  if (numbers.length !== 2 || !numbers.every((value) => value >= 1 && value <= 10)) {
    return unread('a first line of two numbers from 1 to 10', firstLine);
  }
  return { reading: { scores: [{ reference_score: numbers[0]!, score: numbers[1]! }] } };
}
