// SPDX-License-Identifier: Apache-2.0
// `reply: verdict`: MT-Bench's pairwise [[A]], [[B]], or [[C]] for a tie.
import { type ReadResult, type ReplyReader, unread } from './reading.ts';

export const verdictReply: ReplyReader = { read: readVerdict };

const WINNERS = new Map([
  ['A', 0],
  ['B', 1],
  ['C', null],
]);

function readVerdict(text: string): ReadResult {
  const letters = new Set([...text.matchAll(/\[\[([ABC])\]\]/g)].map((match) => match[1]!));
  if (letters.size !== 1) return unread('exactly one of [[A]], [[B]], [[C]]', text.trim().slice(-80));
  return { reading: { winner: WINNERS.get([...letters][0]!)! } };
}
