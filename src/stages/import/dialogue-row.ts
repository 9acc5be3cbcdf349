// SPDX-License-Identifier: Apache-2.0
// Rows of a dialogue with a training target: LLaMA-Factory's, ms-swift's and Alpaca's, which differ only in column
// names. `<image>` in a text marks an image.
import { RecordError } from '../../records/error.ts';
import { withNumbersOf } from '../../records/exact.ts';
import { describeValue, isObject, joinPath, type Place } from '../../records/field.ts';
import { type Draft, field, type ImportTurn, type ItemInfo, idField, imageSource } from './format.ts';
import { type ItemFields, isGiven, oneOfColumns, otherFields } from './item-fields.ts';
import { conversationTurns } from './llava.ts';
import { imageTag } from './marks.ts';
import { checkResponse, type ForeignMessage, imagePaths, markedText, readMessages } from './messages.ts';
import { lessonKeys, readTarget } from './target.ts';

/** Names of columns; names in one list are synonyms. */
export interface DialogueColumns {
  messages: readonly string[];
  /** Columns of the question, joined with a line break, as both trainers do. */
  question: readonly (readonly string[])[];
  response: readonly string[];
}

export interface DialogueForm extends DialogueColumns {
  /** Target field of a response without pair or label. */
  targetField: 'reference' | 'response';
}

const SYSTEM = ['system', 'system_prompt'];

export function dialogueInfo(value: unknown, form: DialogueColumns): ItemInfo {
  const id = idField(value, 'id');
  const turns: unknown[] | undefined = form.messages.map((key) => field(value, key)).find(Array.isArray);
  const isLesson = lessonKeys.some((key) => field(value, key) !== undefined && field(value, key) !== null);
  const isQuestion = (turn: unknown) => ['human', 'user'].includes(String(field(turn, 'from') ?? field(turn, 'role')));
  return {
    ...(id !== undefined && { id }),
    source: imageSource(field(value, 'images') ?? field(value, 'image') ?? imageInParts(turns)),
    numTurns: isLesson || turns === undefined ? 0 : turns.filter(isQuestion).length,
  };
}

/** The first image in a message's parts, for the item's source. */
export function imageInParts(messages: unknown): unknown {
  for (const message of Array.isArray(messages) ? messages : []) {
    const content = field(message, 'content') ?? field(message, 'value');
    if (typeof content === 'string') {
      const tagged = imageTag(content);
      if (tagged !== undefined) return tagged;
      continue;
    }
    for (const part of Array.isArray(content) ? content : []) {
      const image = field(part, 'image') ?? field(part, 'image_url') ?? field(part, 'path') ?? field(part, 'url');
      if (image !== undefined && image !== null) return field(image, 'url') ?? field(image, 'path') ?? image;
    }
  }
  return undefined;
}

export function dialogueDraft(item: unknown, form: DialogueForm, at: Place, path: string): Draft {
  if (!isObject(item)) throw new RecordError(at, path || 'item', 'an object', describeValue(item));
  const value = splitRankedResponse(item, form);
  const key = oneOfColumns(value, form.messages, at, path);
  const read = key === undefined ? readColumns(value, form, at, path) : readConversation(value, key, at, path);
  const systemKey = oneOfColumns(value, SYSTEM, at, path);
  const system = oneSystem(read.system, systemKey, value, at, path);
  const { turns } = read;
  const images = oneImageList(value, read.images, at, path);
  const last = turns.at(-1)!;
  const target = readTarget(value, { response: last.response, turns, system, images }, at, path);
  if (target.takesResponse) {
    checkResponse(last.response!, at, joinPath(path, key ?? 'response'));
    delete last.response;
  }
  return {
    turns,
    // With a pair, it is the reference and not a training target.
    targetField: 'chosen' in target.fields ? 'reference' : form.targetField,
    ...(system !== undefined && { system }),
    ...(images !== undefined && { images }),
    ...target.fields,
    ...otherFields(value, ['id', 'image', 'images', ...SYSTEM, ...read.used, ...target.used], at, path),
  };
}

interface Dialogue {
  turns: ImportTurn[];
  system?: string;
  /** Images within the messages. */
  images: string[];
  used: string[];
}

function readConversation(item: ItemFields, key: string, at: Place, path: string): Dialogue {
  const place = joinPath(path, key);
  const messages = readMessages(pairsAsMessages(item[key]), at, place);
  return { ...messagesDialogue(messages, at, place), used: [key] };
}

/** Turns with their marks. Throws RecordError for turns out of order and for images in responses. */
export function messagesDialogue(messages: readonly ForeignMessage[], at: Place, path: string): Omit<Dialogue, 'used'> {
  const speakers = { user: 'human', assistant: 'gpt', system: 'system' };
  const utterances = messages.map((message) => ({
    from: speakers[message.role],
    value: markedText(message),
    roleKey: message.roleKey,
  }));
  const { turns, system } = conversationTurns(utterances, at, path);
  return { turns, ...(system !== undefined && { system }), images: messages.flatMap(({ images }) => images) };
}

/** ms-swift's [{human, assistant}] as messages; other lists as they are. */
function pairsAsMessages(list: unknown): unknown {
  if (!Array.isArray(list)) return list;
  return list.flatMap((pair) => {
    if (!isObject(pair) || 'from' in pair || 'role' in pair) return [pair];
    const question = Object.keys(pair).find((key) => ['human', 'user'].includes(key));
    const response = Object.keys(pair).find((key) => ['assistant', 'gpt', 'bot'].includes(key));
    if (question === undefined || response === undefined || Object.keys(pair).length !== 2) return [pair];
    return [
      { role: 'user', content: pair[question] },
      { role: 'assistant', content: pair[response] },
    ];
  });
}

/** A question in separate columns, with the earlier dialogue in `history`. */
function readColumns(item: ItemFields, form: DialogueForm, at: Place, path: string): Dialogue {
  const questionKeys = form.question.map((names) => oneOfColumns(item, names, at, path));
  const texts = questionKeys.flatMap((key) => (key === undefined ? [] : [textColumn(item, key, at, path)]));
  if (texts.length === 0) {
    const [name, form_] =
      form.messages.length > 0
        ? [form.messages[0]!, 'an array of turns {from, value} or {role, content}']
        : [form.question[0]![0]!, 'a text'];
    const others = [...form.messages.slice(1), ...form.question.flat()].filter((key) => key !== name);
    const or = others.length > 0 ? ` (or ${others.join(', ')})` : '';
    throw new RecordError(at, joinPath(path, name), `${form_}${or}`, 'nothing');
  }
  const turns = isGiven(item, 'history') ? historyTurns(item.history, at, joinPath(path, 'history')) : [];
  const responseKey = oneOfColumns(item, form.response, at, path);
  const response = responseKey === undefined ? undefined : item[responseKey];
  if (response !== undefined && typeof response !== 'string')
    throw new RecordError(at, joinPath(path, responseKey!), 'a string', describeValue(response));
  const question = texts.filter((text) => text !== '').join('\n');
  // Tables have an empty response in rows that are pairs.
  const hasResponse = response !== undefined && !(response === '' && isGiven(item, 'chosen'));
  turns.push({ question, ...(hasResponse && { response }) });
  return { turns, images: [], used: [...form.question.flat(), ...form.response, 'history'] };
}

/** LLaMA-Factory's older pairs, an `output` of two texts, as chosen and rejected. */
function splitRankedResponse(item: ItemFields, form: DialogueForm): ItemFields {
  const key = form.response.find((name) => isGiven(item, name));
  const response = key === undefined ? undefined : item[key];
  const isPair = Array.isArray(response) && response.length === 2 && response.every((text) => typeof text === 'string');
  if (!isPair || isGiven(item, 'chosen') || isGiven(item, 'rejected')) return item;
  return withNumbersOf(item, { ...item, [key!]: null, chosen: response[0], rejected: response[1] });
}

function textColumn(item: ItemFields, key: string, at: Place, path: string): string {
  const text = item[key];
  if (typeof text === 'string') return text;
  throw new RecordError(at, joinPath(path, key), 'a string', describeValue(text));
}

function historyTurns(value: unknown, at: Place, path: string): ImportTurn[] {
  const isPair = (pair: unknown): pair is [string, string] =>
    Array.isArray(pair) && pair.length === 2 && pair.every((text) => typeof text === 'string');
  if (Array.isArray(value) && value.every(isPair)) return value.map(([question, response]) => ({ question, response }));
  const bad = Array.isArray(value) ? value.findIndex((pair) => !isPair(pair)) : -1;
  const place = bad === -1 ? path : `${path}[${bad}]`;
  throw new RecordError(
    at,
    place,
    'pairs [question, response]',
    describeValue(bad === -1 ? value : (value as unknown[])[bad]),
  );
}

/** The system text of the column or of the first turn. Throws RecordError if they differ. */
function oneSystem(said: string | undefined, key: string | undefined, item: ItemFields, at: Place, path: string) {
  const column = key === undefined ? '' : textColumn(item, key, at, path);
  if (column === '') return said === '' ? undefined : said;
  if (said === undefined || said === '' || said === column) return column;
  throw new RecordError(
    at,
    joinPath(path, key!),
    `one system text (a turn says ${JSON.stringify(said.slice(0, 40))})`,
    describeValue(column),
  );
}

/** Images of the column or of the messages. Throws RecordError if both have them. */
export function oneImageList(item: ItemFields, inMessages: string[], at: Place, path: string): string[] | undefined {
  const column = imagePaths(item, at, path);
  if (inMessages.length === 0) return column;
  if (column === undefined || column.length === 0 || column.join('\n') === inMessages.join('\n')) return inMessages;
  const key = isGiven(item, 'images') ? 'images' : 'image';
  const got = `${column.length} here and ${inMessages.length} in messages`;
  throw new RecordError(at, joinPath(path, key), 'images here or in the messages', got);
}
