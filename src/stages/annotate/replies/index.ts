// SPDX-License-Identifier: Apache-2.0
// The kinds of reply a guide may name.
import { choiceReply } from './choice.ts';
import { gradeReply } from './grade.ts';
import { jsonReply } from './json.ts';
import { judgementReply } from './judgement.ts';
import { rankingReply } from './ranking.ts';
import { ratingReply } from './rating.ts';
import type { ReplyReader } from './reading.ts';
import { twoScoresReply } from './two-scores.ts';
import { verdictReply } from './verdict.ts';

export const replyReaders = {
  json: jsonReply,
  grade: gradeReply,
  'two-scores': twoScoresReply,
  rating: ratingReply,
  verdict: verdictReply,
  ranking: rankingReply,
  choice: choiceReply,
  judgement: judgementReply,
} satisfies Record<string, ReplyReader>;

export type ReplyKind = keyof typeof replyReaders;

export const replyKinds = Object.keys(replyReaders) as ReplyKind[];
