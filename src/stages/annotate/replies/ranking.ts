// SPDX-License-Identifier: Apache-2.0
// `reply: ranking`: AlpacaEval's list of {'model': 'model_1', 'rank': 1}, a Python literal, best rank 1.
import { type ReadResult, type ReplyReader, unread } from './reading.ts';

export const rankingReply: ReplyReader = { read: readRanking };

const ENTRY = /\{\s*['"]model['"]\s*:\s*['"]model_([12])['"]\s*,\s*['"]rank['"]\s*:\s*([12])\s*,?\s*\}/g;

function readRanking(text: string): ReadResult {
  const entries = [...text.matchAll(ENTRY)].map((match) => [match[1]!, match[2]!] as const);
  const ranks = new Map(entries);
  const isOne = entries.every(([model, rank]) => ranks.get(model) === rank);
  if (!isOne || ranks.size !== 2 || ranks.get('1') === ranks.get('2'))
    return unread("[{'model': 'model_1', 'rank': 1}, {'model': 'model_2', 'rank': 2}] or the reverse", text);
  return { reading: { winner: ranks.get('1') === '1' ? 0 : 1 } };
}
