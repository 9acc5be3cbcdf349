// SPDX-License-Identifier: Apache-2.0
// `reply: grade`: MM-Vet's correctness, a number from 0 to 1 as the reply's first word.
import { type ReadResult, type ReplyReader, unread } from './reading.ts';

export const gradeReply: ReplyReader = { read: readGrade };

/** "1 of the two roots", "0 or 1": a number that is a quantity, or one of several. */
const NO_GRADE = /^\s*(?:of|out|or|to|in|and|part|half|%|percent|-|\u2013)(?![a-z])/i;
const NUMBERS = /(?<![\w.])(?:\d+\.?\d*|\.\d+)(?![\w])/g;

function readGrade(text: string): ReadResult {
  const reply = text.trim();
  const first = reply.split(/\s+/)[0] ?? '';
  const grade = /^(\d+\.?\d*|\.\d+)$/.test(first) ? Number(first) : Number.NaN;
  const rest = reply.slice(first.length);
  const others = (rest.match(NUMBERS) ?? []).map(Number).filter((other) => other <= 1 && other !== grade);
  const isGrade = grade >= 0 && grade <= 1 && !NO_GRADE.test(rest) && others.length === 0;
  return isGrade ? { reading: { scores: [{ grade }] } } : unread('one number from 0.0 to 1.0', text);
}
