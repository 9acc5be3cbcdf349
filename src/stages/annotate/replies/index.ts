// SPDX-License-Identifier: Apache-2.0
// The kinds of reply a guide may name.
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

/** What is read of a call that splits an answer, whatever the guide's reply is. */
export const splitReader = afterReasoning(claimsReply);

/** What a judge thinks on its way is no reply. */
function afterReasoning(reader: ReplyReader): ReplyReader {
  return { ...reader, read: (text, context) => reader.read(withoutReasoning(text), context) };
}

export type ReplyKind = keyof typeof replyReaders;

export const replyKinds = Object.keys(replyReaders) as ReplyKind[];
