// SPDX-License-Identifier: Apache-2.0
// `reply: reward`: the number that a reward model gives to a dialogue.
import { type ReadResult, type ReplyReader, unread } from './reading.ts';

export const rewardReply: ReplyReader = { read: readReward };

function readReward(text: string): ReadResult {
  const reward = text.trim() === '' ? Number.NaN : Number(text);
  return Number.isFinite(reward) ? { reading: { scores: [{ reward }] } } : unread('one number', text);
}
