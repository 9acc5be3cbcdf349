// SPDX-License-Identifier: Apache-2.0
// `reply: grade`: MM-Vet's correctness, a number from 0 to 1 as the reply's first word.
import { type ReadResult, type ReplyReader, unread } from './reading.ts';

export const gradeReply: ReplyReader = { read: readGrade };

function readGrade(text: string): ReadResult {
  const first = text.trim().split(/\s+/)[0] ?? '';
  const grade = /^(\d+\.?\d*|\.\d+)$/.test(first) ? Number(first) : Number.NaN;
  return grade >= 0 && grade <= 1 ? { reading: { scores: [{ grade }] } } : unread('a number from 0.0 to 1.0', text);
}
