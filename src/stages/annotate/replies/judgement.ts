// SPDX-License-Identifier: Apache-2.0
// `reply: judgement`: SHR, one numbered line per sentence after the line with "Judgement:".
import { count } from '../../../records/count.ts';
import { type ReadResult, type ReplyContext, type ReplyReader, unread } from './reading.ts';

export const judgementReply: ReplyReader = { read: readJudgement };

const LABELS = ['hallucination', 'correct', 'cannot judge'];

function readJudgement(text: string, context: ReplyContext): ReadResult {
  const lines = text.split('\n');
  const start = lines.findIndex((line) => line.includes('Judgement:'));
  if (start === -1) return unread('a line "Judgement:" and then one line per sentence', text);
  const judged = lines.slice(start + 1).filter((line) => line.trim() !== '');
  if (judged.length !== context.sentences.length) {
    return { problem: `expected ${count(context.sentences.length, 'line')} after "Judgement:", got ${judged.length}` };
  }
  const sentences = [];
  for (const [index, line] of judged.entries()) {
    const match = /^\s*(?:(\d+)[.)]\s*)?([A-Za-z ]+?)\s*:\s*(.*)$/.exec(line);
    const label = match?.[2]?.toLowerCase();
    const isInPlace = Number(match?.[1] ?? index + 1) === index + 1;
    if (label === undefined || !LABELS.includes(label) || !isInPlace)
      return unread(`"${index + 1}. Hallucination|Correct|Cannot judge: why"`, line);
    sentences.push({ text: context.sentences[index]!, label, reason: match![3]! });
  }
  const hallucinated = sentences.filter((sentence) => sentence.label === 'hallucination').length;
  return {
    reading: { scores: [{ hallucinated, sentences: sentences.length }], verdicts: [{ sentences }] },
  };
}

/** The response's sentences as SHR splits them: at full stops, without exact and contained repeats. */
export function shrSentences(answer: string): string[] {
  const kept: string[] = [];
  for (const piece of answer.replace(/\s+/g, ' ').split('.')) {
    const sentence = piece.trim();
    if (sentence !== '' && !kept.some((earlier) => earlier.includes(sentence))) kept.push(sentence);
  }
  return kept;
}
