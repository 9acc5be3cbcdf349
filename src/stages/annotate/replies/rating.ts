// SPDX-License-Identifier: Apache-2.0
// `reply: rating`: MT-Bench's [[7]], or [7] where no double brackets are; 1 to 10.
import { type ReadResult, type ReplyReader, unread } from './reading.ts';

export const ratingReply: ReplyReader = { read: readRating };

function readRating(text: string): ReadResult {
  const match = /\[\[(\d+\.?\d*)\]\]/.exec(text) ?? /\[(\d+\.?\d*)\]/.exec(text);
  const rating = match === null ? Number.NaN : Number(match[1]);
  const tail = text.trim().slice(-80);
  return rating >= 1 && rating <= 10
    ? { reading: { scores: [{ rating }] } }
    : unread('a rating as [[1]] to [[10]]', tail);
}
