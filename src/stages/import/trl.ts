// SPDX-License-Identifier: Apache-2.0
// TRL's data sets: prompt with chosen and rejected, completion (and label), or messages; texts or message lists.
import { RecordError } from '../../records/error.ts';
import { boolean, checkShape, describeValue, isObject, joinPath, number, type Place } from '../../records/field.ts';
import type { Message } from '../../records/record.ts';
import { type Draft, field, type ImportFormat, idField, imageSource, otherFields } from './format.ts';
import { answerText, imagePaths, messagesShape, toMessages } from './messages.ts';

const LOGPS = ['ref_chosen_logps', 'ref_rejected_logps'] as const;
const USED = [
  'id',
  'prompt',
  'chosen',
  'rejected',
  'completion',
  'label',
  'messages',
  'image',
  'images',
  'group',
  ...LOGPS,
];

export const trl: ImportFormat = {
  summary: 'TRL preference, unpaired, prompt-completion or messages rows (JSON lines)',
  facts(value) {
    const id = idField(value, 'id');
    return { ...(id !== undefined && { id }), source: imageSource(field(value, 'images') ?? field(value, 'image')) };
  },
  draft(value, at, path) {
    if (!isObject(value)) throw new RecordError(at, path || 'record', 'an object', describeValue(value));
    const images = imagePaths(value, at, path);
    const logps = LOGPS.filter((key) => value[key] !== undefined && value[key] !== null);
    return {
      ...(images !== undefined && { images }),
      ...answers(value, at, path),
      ...Object.fromEntries(logps.map((key) => [key, checkShape(number, value[key], at, joinPath(path, key))])),
      ...otherFields(value, USED),
    };
  },
};

function answers(item: Record<string, unknown>, at: Place, path: string): Draft {
  const texts = (key: string) => readTexts(item[key], at, joinPath(path, key));
  if (item.chosen !== undefined || item.rejected !== undefined) {
    const chosen = texts('chosen');
    const rejected = texts('rejected');
    const { prompt, first } =
      item.prompt === undefined || item.prompt === null
        ? sharedPrompt(chosen, rejected, at, path)
        : { prompt: readPrompt(item.prompt, at, joinPath(path, 'prompt')), first: 0 };
    return {
      prompt,
      chosen: oneAnswer(chosen, first, at, joinPath(path, 'chosen')),
      rejected: oneAnswer(rejected, first, at, joinPath(path, 'rejected')),
      pair: { rule: 'imported' },
    };
  }
  if (item.messages !== undefined) {
    const messages = readTexts(item.messages, at, joinPath(path, 'messages'));
    const last = typeof messages === 'string' ? undefined : messages.at(-1);
    if (typeof messages === 'string' || last?.role !== 'assistant') return { prompt: messages };
    return {
      prompt: messages.slice(0, -1),
      response: answerText(last, at, joinPath(path, `messages[${messages.length - 1}]`)),
    };
  }
  const prompt = readPrompt(item.prompt, at, joinPath(path, 'prompt'));
  if (item.completion === undefined) return { prompt };
  const response = oneAnswer(texts('completion'), 0, at, joinPath(path, 'completion'));
  if (item.label === undefined || item.label === null) return { prompt, response };
  return { prompt, response, label: checkShape(boolean, item.label, at, joinPath(path, 'label')) };
}

function readTexts(value: unknown, at: Place, path: string): string | Message[] {
  return typeof value === 'string' ? value : toMessages(checkShape(messagesShape, value, at, path));
}

/** A conversation of one user turn of text is that text. */
function readPrompt(value: unknown, at: Place, path: string): string | Message[] {
  const prompt = readTexts(value, at, path);
  const only = typeof prompt === 'string' || prompt.length > 1 ? undefined : prompt[0];
  return only?.role === 'user' && typeof only.content === 'string' ? only.content : prompt;
}

/** The prompt of rows that have none of their own: the messages that chosen and rejected begin with alike. */
function sharedPrompt(chosen: string | Message[], rejected: string | Message[], at: Place, path: string) {
  if (typeof chosen === 'string' || typeof rejected === 'string')
    throw new RecordError(
      at,
      joinPath(path, 'prompt'),
      'a prompt (or chosen and rejected as messages that share one)',
      'nothing',
    );
  let first = 0;
  while (first < chosen.length - 1 && JSON.stringify(chosen[first]) === JSON.stringify(rejected[first])) first += 1;
  if (first === 0) throw new RecordError(at, joinPath(path, 'chosen'), 'the same first message as rejected', 'another');
  return { prompt: readPrompt(chosen.slice(0, first), at, joinPath(path, 'chosen')), first };
}

function oneAnswer(texts: string | Message[], first: number, at: Place, path: string): string {
  if (typeof texts === 'string') return texts;
  const [message, ...more] = texts.slice(first);
  if (message?.role !== 'assistant' || more.length > 0)
    throw new RecordError(
      at,
      path,
      'one assistant message after the prompt',
      `${texts.length - first} messages, first of ${message?.role ?? 'nobody'}`,
    );
  return answerText(message, at, joinPath(path, `[${first}]`));
}
