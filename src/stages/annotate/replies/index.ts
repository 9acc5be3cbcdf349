// SPDX-License-Identifier: Apache-2.0
// The reply kinds of guides.
import { withoutReasoning } from '../../../text/reasoning.ts';
import { choiceReply } from './choice.ts';
import { claimsReply } from './claims.ts';
import { gradeReply } from './grade.ts';
import { jsonReply } from './json.ts';
import { judgementReply } from './judgement.ts';
import { namesReply } from './names.ts';
import { probabilityReply } from './probability.ts';
import { rankingReply } from './ranking.ts';
import { ratingReply } from './rating.ts';
import type { ReplyReader } from './reading.ts';
import { rewardReply } from './reward.ts';
import { twoScoresReply } from './two-scores.ts';
import { verdictReply } from './verdict.ts';

export const replyReaders = {
  json: afterReasoning(jsonReply),
  grade: afterReasoning(gradeReply),
  'two-scores': afterReasoning(twoScoresReply),
  rating: afterReasoning(ratingReply),
  verdict: afterReasoning(verdictReply),
  ranking: afterReasoning(rankingReply),
  choice: afterReasoning(choiceReply),
  judgement: afterReasoning(judgementReply),
  names: afterReasoning(namesReply),
  probability: probabilityReply,
  reward: rewardReply,
} satisfies Record<string, ReplyReader>;

/** The parser for a call that splits a response, independent of the guide's reply kind. */
export const splitReader = afterReasoning(claimsReply);

/** A judge's reasoning is not part of its reply. */
function afterReasoning(reader: ReplyReader): ReplyReader {
  return { ...reader, read: (text, context) => reader.read(withoutReasoning(text), context) };
}

export type ReplyKind = keyof typeof replyReaders;

export const replyKinds = Object.keys(replyReaders) as ReplyKind[];
