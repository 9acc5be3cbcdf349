// SPDX-License-Identifier: Apache-2.0
// Converts a dialogue to records: one record with the last response as reference, or one record per question.
import { IMAGE_MARK } from '../../records/prompt.ts';
import type { Message, VprefRecord } from '../../records/record.ts';
import type { Draft, ImportTurn } from './format.ts';

/** How the text of single questions is cleaned. */
export type Cleaning = 'none' | 'seva' | 'seva-faithful';

const SHORT_ANSWER_REQUEST = 'Answer the question using a single word or phrase.';

/**
 * A question as SeVa asks it: without image mark and without the request for a one-word answer, so responses are
 * sentences. `seva-faithful` follows the published code, which differs by source, deletes the line breaks of OCR-VQA
 * and GQA questions (gluing words), and leaves a mark that stands last in TextVQA's.
 *   Source: Kevinz-code/SeVa data/step1 (ocr_vqa and gqa, textvqa, vg).
 */
function cleanQuestion(question: string, cleaning: Cleaning, source: string | undefined): string {
  if (cleaning === 'none') return question;
  if (cleaning === 'seva') return question.replaceAll(IMAGE_MARK, '').replaceAll(SHORT_ANSWER_REQUEST, '').trim();
  if (source === 'textvqa') return question.replaceAll(`${IMAGE_MARK}\n`, '');
  if (source === 'vg') return question.replaceAll(`${IMAGE_MARK}\n`, '').replaceAll(`\n${IMAGE_MARK}`, '');
  return question.replaceAll(IMAGE_MARK, '').replaceAll(SHORT_ANSWER_REQUEST, '').replaceAll('\n', '');
}

/** Messages of a dialogue without its last response, which is the reference; a string if it is one question. */
export function dialoguePrompt(turns: readonly ImportTurn[], system?: string): VprefRecord['prompt'] {
  if (turns.length === 1 && system === undefined) return turns[0]!.question;
  const messages: Message[] = system === undefined ? [] : [{ role: 'system', content: system }];
  for (const [index, { question, response }] of turns.entries()) {
    messages.push({ role: 'user', content: question });
    if (index < turns.length - 1) messages.push({ role: 'assistant', content: response ?? null });
  }
  return messages;
}

/** Prompt of a single question. Marks of several images stay, because they give positions; without images they are text. */
export function questionPrompt(
  draft: Draft,
  turn: ImportTurn,
  cleaning: Cleaning,
  source?: string,
): VprefRecord['prompt'] {
  const question = draft.images?.length !== 1 ? turn.question : cleanQuestion(turn.question, cleaning, source);
  return dialoguePrompt([{ question }], draft.system);
}
