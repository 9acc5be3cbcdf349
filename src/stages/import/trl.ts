// SPDX-License-Identifier: Apache-2.0
// TRL's data sets: prompt with chosen and rejected, completion (and label), or messages; texts or message lists. Also
// RLAIF-V's and RLHF-V's rows, whose prompt is called question.
//   Source: huggingface/trl docs/source/dataset_formats.md, trl/data_utils.py (extract_prompt, maybe_extract_prompt).

import { isDeepStrictEqual } from 'node:util';
import { count } from '../../records/count.ts';
import { RecordError } from '../../records/error.ts';
import { withNumbersOf } from '../../records/exact.ts';
import { checkShape, describeValue, isObject, joinPath, number, type Place } from '../../records/field.ts';
import type { Message } from '../../records/record.ts';
import { imageInParts, oneImageList } from './dialogue-row.ts';
import { type Draft, field, type ImportFormat, idField, imageSource } from './format.ts';
import { type ItemFields, isGiven, oneOfColumns, otherFields } from './item-fields.ts';
import { type ForeignMessage, readMessage, readMessages, readResponse, responseText } from './messages.ts';
import { readLabel } from './target.ts';

/** A text, or the messages of a conversation. */
type Texts = string | ForeignMessage[];

const LOGPS = ['ref_chosen_logps', 'ref_rejected_logps'] as const;
const PROMPTS = ['prompt', 'question'];
const READ = ['id', 'image', 'images', 'group', 'system', ...LOGPS];

export const trl: ImportFormat = {
  summary: 'TRL preference, unpaired, prompt-completion or messages rows; RLAIF-V',
  info(value) {
    const id = idField(value, 'id');
    const messages = ['prompt', 'messages', 'chosen'].map((key) => imageInParts(field(value, key)));
    const image = field(value, 'images') ?? field(value, 'image') ?? messages.find((found) => found !== undefined);
    return { ...(id !== undefined && { id }), source: imageSource(image) };
  },
  draft(value, at, path) {
    if (!isObject(value)) throw new RecordError(at, path || 'record', 'an object', describeValue(value));
    const item = openPairText(value);
    const { prompt: said, fields, used } = responses(item, at, path);
    const prompt = withSystem(said, item, at, path);
    const inMessages = typeof prompt === 'string' ? [] : prompt.flatMap((message) => message.images);
    const images = oneImageList(item, inMessages, at, path);
    const logps = LOGPS.filter((key) => isGiven(item, key));
    return {
      ...(images !== undefined && { images }),
      prompt: used[0] === 'messages' ? toMessages(prompt) : plainPrompt(prompt),
      ...fields,
      ...Object.fromEntries(logps.map((key) => [key, checkShape(number, item[key], at, joinPath(path, key))])),
      ...(typeof item.group === 'string' && { group: item.group }),
      ...otherFields(item, [...READ, ...used], at, path),
    };
  },
};

/** The prompt with the text of a `system` column, as in Orca's pairs. Throws RecordError if its system text differs. */
function withSystem(prompt: Texts, item: ItemFields, at: Place, path: string): Texts {
  const { system } = item;
  if (!isGiven(item, 'system') || system === '') return prompt;
  if (typeof system !== 'string')
    throw new RecordError(at, joinPath(path, 'system'), 'a string', describeValue(system));
  const message = (role: Message['role'], content: string): ForeignMessage => {
    return {
      role,
      content,
      images: [],
      path: joinPath(path, role === 'system' ? 'system' : 'prompt'),
      roleKey: 'role',
    };
  };
  if (typeof prompt === 'string') return [message('system', system), message('user', prompt)];
  const said = prompt.find(({ role }) => role === 'system');
  if (said === undefined) return [message('system', system), ...prompt];
  if (said.content === system) return prompt;
  throw new RecordError(at, joinPath(path, 'system'), 'what the system message says', describeValue(system));
}

/** RLHF-V stores question, chosen and rejected as JSON in one column, `text`. */
function openPairText(item: ItemFields): ItemFields {
  const { text, ...rest } = item;
  if (typeof text !== 'string' || !text.startsWith('{') || isGiven(item, 'chosen')) return item;
  let inside: unknown;
  try {
    inside = JSON.parse(text);
  } catch {}
  return isObject(inside) && isGiven(inside, 'chosen') ? withNumbersOf(item, { ...rest, ...inside }) : item;
}

interface Responses {
  prompt: Texts;
  fields: Partial<Draft>;
  used: string[];
}

function responses(item: ItemFields, at: Place, path: string): Responses {
  if (isGiven(item, 'chosen') || isGiven(item, 'rejected')) return pair(item, at, path);
  const promptKey = oneOfColumns(item, PROMPTS, at, path);
  if (promptKey === undefined && isGiven(item, 'messages')) {
    const messages = readTexts(item.messages, at, joinPath(path, 'messages'));
    const last = typeof messages === 'string' ? undefined : messages.at(-1);
    if (typeof messages === 'string' || last?.role !== 'assistant')
      return { prompt: messages, fields: {}, used: ['messages'] };
    return { prompt: messages.slice(0, -1), fields: { response: responseText(last, at) }, used: ['messages'] };
  }
  const prompt = readTexts(item[promptKey ?? 'prompt'], at, joinPath(path, promptKey ?? 'prompt'));
  const used = [promptKey ?? 'prompt'];
  if (!isGiven(item, 'completion')) return { prompt, fields: {}, used };
  const response = oneResponse(
    readTexts(item.completion, at, joinPath(path, 'completion')),
    at,
    joinPath(path, 'completion'),
  );
  used.push('completion', 'label');
  if (!isGiven(item, 'label')) return { prompt, fields: { response }, used };
  return { prompt, fields: { response, label: readLabel(item.label, at, joinPath(path, 'label')) }, used };
}

function pair(item: ItemFields, at: Place, path: string): Responses {
  const [chosen, rejected] = ['chosen', 'rejected'].map((key) => {
    if (!isGiven(item, key)) throw new RecordError(at, joinPath(path, key), 'chosen and rejected', 'nothing');
    return readTexts(item[key], at, joinPath(path, key));
  }) as [Texts, Texts];
  const key = oneOfColumns(item, PROMPTS, at, path);
  const given = key === undefined ? undefined : readTexts(item[key], at, joinPath(path, key));
  const shared = sharedMessages(chosen, rejected);
  if (given === undefined && shared.length === 0) {
    const isText = typeof chosen === 'string' || typeof rejected === 'string';
    const expected = isText
      ? 'a prompt (or chosen and rejected as messages that share one)'
      : 'the same first message as rejected';
    throw new RecordError(at, joinPath(path, isText ? 'prompt' : 'chosen'), expected, isText ? 'nothing' : 'another');
  }
  if (given !== undefined && shared.length > 0) checkSamePrompt(given, shared, at, joinPath(path, key!));
  const score = { chosen: item.score_chosen, rejected: item.score_rejected };
  const hasScores = typeof score.chosen === 'number' && typeof score.rejected === 'number';
  return {
    prompt: shared.length > 0 ? shared : given!,
    fields: {
      chosen: oneResponse(
        typeof chosen === 'string' ? chosen : chosen.slice(shared.length),
        at,
        joinPath(path, 'chosen'),
      ),
      rejected: oneResponse(
        typeof rejected === 'string' ? rejected : rejected.slice(shared.length),
        at,
        joinPath(path, 'rejected'),
      ),
      ...(hasScores && { chosen_score: score.chosen as number, rejected_score: score.rejected as number }),
      pair: { rule: 'imported' },
    },
    used: [
      key ?? 'prompt',
      'chosen',
      'rejected',
      ...(hasScores ? ['score_chosen', 'score_rejected'] : []),
      // UltraFeedback repeats the chosen conversation for supervised training.
      ...(isGiven(item, 'messages') && isDeepStrictEqual(item.messages, item.chosen) ? ['messages'] : []),
    ],
  };
}

/** The common first messages of chosen and rejected: the prompt of rows that repeat it there. */
function sharedMessages(chosen: Texts, rejected: Texts): ForeignMessage[] {
  if (typeof chosen === 'string' || typeof rejected === 'string') return [];
  const said = (message: ForeignMessage | undefined) =>
    JSON.stringify(message && [message.role, message.content, message.images]);
  let first = 0;
  while (first < chosen.length - 1 && said(chosen[first]) === said(rejected[first])) first += 1;
  return chosen.slice(0, first);
}

/** Checks a prompt against conversations that repeat it: equal messages, or the text of one of their questions. */
function checkSamePrompt(given: Texts, shared: readonly ForeignMessage[], at: Place, path: string): void {
  const text = ({ content }: ForeignMessage) =>
    typeof content === 'string' ? content : content.map((part) => (part.type === 'text' ? part.text : '')).join('');
  const questions = shared.filter(({ role }) => role === 'user').map(text);
  const matches =
    typeof given === 'string'
      ? questions.some((question) => question.trim() === given.trim())
      : given.map((message) => `${message.role} ${text(message)}`).join('\n') ===
        shared.map((message) => `${message.role} ${text(message)}`).join('\n');
  if (!matches)
    throw new RecordError(
      at,
      path,
      'what chosen and rejected begin with',
      typeof given === 'string' ? describeValue(given) : 'other messages',
    );
}

function readTexts(value: unknown, at: Place, path: string): Texts {
  if (value === undefined || value === null)
    throw new RecordError(at, path, 'a text or an array of messages {role, content}', describeValue(value));
  if (typeof value === 'string') return value;
  return isObject(value) ? [readMessage(value, at, path)] : readMessages(value, at, path);
}

/** Messages as records have them; one user turn of text is that text. */
function plainPrompt(prompt: Texts): string | Message[] {
  if (typeof prompt === 'string') return prompt;
  const [only, ...more] = prompt;
  if (only?.role === 'user' && more.length === 0 && typeof only.content === 'string') return only.content;
  return toMessages(prompt);
}

function toMessages(texts: Texts): string | Message[] {
  return typeof texts === 'string' ? texts : texts.map(({ role, content }) => ({ role, content }));
}

function oneResponse(texts: Texts, at: Place, path: string): string {
  if (typeof texts === 'string') return readResponse(texts, at, path);
  const [message, ...more] = texts;
  if (message?.role === 'assistant' && more.length === 0) return responseText(message, at);
  throw new RecordError(
    at,
    path,
    'one assistant message after the prompt',
    `${count(texts.length, 'message')}, first of ${message?.role ?? 'nobody'}`,
  );
}
