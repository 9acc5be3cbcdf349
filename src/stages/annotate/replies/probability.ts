// SPDX-License-Identifier: Apache-2.0
// `reply: probability`: {"yes": -0.1, "no": -2.4}, the log-probability of each allowed reply, from a local judge.
import { expectedReply } from '../allowed-replies.ts';
import { type ReadResult, type ReplyContext, type ReplyReader, unread } from './reading.ts';

export const probabilityReply: ReplyReader = { read: readProbabilities };

function readProbabilities(text: string, { scores: [metric], replies = [] }: ReplyContext): ReadResult {
  try {
    const { grade, mass } = expectedReply(replies, JSON.parse(text) as Record<string, number>);
    return { reading: { scores: [{ [metric!.name]: grade }], masses: [{ [metric!.name]: mass }] } };
  } catch {
    return unread(`log-probabilities of ${replies.map(({ name }) => name).join(', ')}`, text);
  }
}
