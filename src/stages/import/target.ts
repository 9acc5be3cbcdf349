// SPDX-License-Identifier: Apache-2.0
// The training target of a row: a pair of responses, or one labelled response.
import { RecordError } from '../../records/error.ts';
import { describeValue, joinPath, type Place } from '../../records/field.ts';
import type { Draft, ImportTurn } from './format.ts';
import { type ItemFields, isGiven } from './item-fields.ts';
import { imageList, markedText, readMessages, readResponse, responseText } from './messages.ts';

export interface Target {
  fields: Partial<Draft>;
  /** Columns that were read */
  used: string[];
  /** Whether the dialogue's last response is part of it: the chosen or the labelled one. */
  takesResponse: boolean;
}

/** The row's dialogue. */
export interface TargetDialogue {
  response: string | undefined;
  turns: readonly ImportTurn[];
  system: string | undefined;
  images: readonly string[] | undefined;
}

const PAIR = { pair: { rule: 'imported' } };
const LABELS = ['kto_tag', 'label'] as const;
const SWIFT = ['rejected_response', 'rejected_messages', 'rejected_images'] as const;

/** Columns of preference data. */
export const lessonKeys = ['chosen', 'rejected', ...SWIFT, ...LABELS];

/** Throws RecordError for an incomplete pair, for a labelled pair, and for content that no record can hold. */
export function readTarget(item: ItemFields, dialogue: TargetDialogue, at: Place, path: string): Target {
  const given = lessonKeys.filter((key) => isGiven(item, key));
  const kinds = [
    given.filter((key) => key === 'chosen' || key === 'rejected'),
    given.filter((key) => (SWIFT as readonly string[]).includes(key)),
    given.filter((key) => (LABELS as readonly string[]).includes(key)),
  ].filter((keys) => keys.length > 0);
  if (kinds.length > 1) {
    const [first, second] = kinds.map(([key]) => key!);
    throw new RecordError(at, joinPath(path, second!), `nothing beside ${first}`, describeValue(item[second!]));
  }
  const [keys = []] = kinds;
  if (keys.length === 0) return { fields: {}, used: lessonKeys, takesResponse: false };
  const read = keys.includes('chosen') || keys.includes('rejected') ? chosenRejected : isLabel(keys) ? labelled : swift;
  return { ...read(item, dialogue, at, path), used: lessonKeys };
}

const isLabel = (keys: readonly string[]) => keys.some((key) => (LABELS as readonly string[]).includes(key));

type Read = Omit<Target, 'used'>;

function chosenRejected(item: ItemFields, _dialogue: TargetDialogue, at: Place, path: string): Read {
  for (const key of ['chosen', 'rejected'])
    if (!isGiven(item, key))
      throw new RecordError(at, joinPath(path, key), 'a response (chosen and rejected)', 'nothing');
  const response = (key: string) => readResponse(item[key], at, joinPath(path, key));
  return { fields: { chosen: response('chosen'), rejected: response('rejected'), ...PAIR }, takesResponse: false };
}

function labelled(item: ItemFields, { response }: TargetDialogue, at: Place, path: string): Read {
  const [key, other] = LABELS.filter((key) => isGiven(item, key));
  if (other !== undefined)
    throw new RecordError(at, joinPath(path, other), `nothing beside ${key}`, describeValue(item[other]));
  const label = readLabel(item[key!], at, joinPath(path, key!));
  if (response === undefined)
    throw new RecordError(at, joinPath(path, key!), 'a response to label', 'a last turn without one');
  return { fields: { response: response, label }, takesResponse: true };
}

/** Parses a label: true or false, 1 or 0, or these as text ("False" from a table). */
export function readLabel(value: unknown, at: Place, path: string): boolean {
  const text = typeof value === 'string' ? value.trim().toLowerCase() : String(value);
  if (typeof value !== 'object' && (text === 'true' || text === '1' || text === '1.0')) return true;
  if (typeof value !== 'object' && (text === 'false' || text === '0' || text === '0.0')) return false;
  throw new RecordError(at, path, 'true or false (or 1 or 0)', describeValue(value));
}

/** ms-swift: the messages end with the chosen response. */
function swift(item: ItemFields, dialogue: TargetDialogue, at: Place, path: string): Read {
  const { response: chosen } = dialogue;
  if (chosen === undefined)
    throw new RecordError(at, joinPath(path, 'messages'), 'the chosen response as last message', 'none');
  if (isGiven(item, 'rejected_messages')) {
    if (isGiven(item, 'rejected_response'))
      throw new RecordError(at, joinPath(path, 'rejected_messages'), 'nothing beside rejected_response', 'both');
    const rejected = rejectedConversation(item, dialogue, at, path);
    return { fields: { chosen, rejected, ...PAIR }, takesResponse: true };
  }
  const images = isGiven(item, 'rejected_images')
    ? imageList(item.rejected_images, at, joinPath(path, 'rejected_images'))
    : [];
  const fields = {
    chosen,
    ...(isGiven(item, 'rejected_response') && {
      rejected: rejectedResponse(item.rejected_response, at, joinPath(path, 'rejected_response')),
    }),
    ...PAIR,
    ...(images.length > 0 && { rejected_images: images }),
  };
  const isPair = isGiven(item, 'rejected_response') || images.length > 0;
  return isPair ? { fields, takesResponse: true } : { fields: {}, takesResponse: false };
}

/** A text, a message or a list of one, or a list of texts: several rejected responses. */
function rejectedResponse(value: unknown, at: Place, path: string): string | string[] {
  if (Array.isArray(value) && value.length > 0 && value.every((text) => typeof text === 'string')) {
    const texts = value.map((text, index) => readResponse(text, at, `${path}[${index}]`));
    return texts.length === 1 ? texts[0]! : texts;
  }
  return readResponse(value, at, path);
}

/** The last response of `rejected_messages`, whose earlier messages and images must be those of `messages`. */
function rejectedConversation(
  item: ItemFields,
  { turns, system, images }: TargetDialogue,
  at: Place,
  path: string,
): string {
  const place = joinPath(path, 'rejected_messages');
  const messages = readMessages(item.rejected_messages, at, place);
  const last = messages.at(-1);
  if (last?.role !== 'assistant')
    throw new RecordError(
      at,
      place,
      'the rejected response as last message',
      last === undefined ? 'none' : `one of ${last.role}`,
    );
  const said = messages.slice(0, -1).map((message) => [message.role, markedText(message)]);
  const wanted = [
    ...(system === undefined ? [] : [['system', system]]),
    ...turns.flatMap(({ question, response }, index) => [
      ['user', question],
      ...(index < turns.length - 1 ? [['assistant', response ?? '']] : []),
    ]),
  ];
  const spoken = said[0]?.[0] === 'system' ? wanted : wanted.filter(([role]) => role !== 'system');
  const differs = spoken.findIndex((turn, index) => JSON.stringify(turn) !== JSON.stringify(said[index]));
  if (differs !== -1 || said.length !== spoken.length)
    throw new RecordError(
      at,
      `${place}[${differs === -1 ? spoken.length : differs}]`,
      'what messages say there (only the last response may differ)',
      'another',
    );
  const own = [
    ...(isGiven(item, 'rejected_images') ? imageList(item.rejected_images, at, joinPath(path, 'rejected_images')) : []),
    ...messages.flatMap((message) => message.images),
  ];
  if (own.length > 0 && own.join('\n') !== (images ?? []).join('\n'))
    throw new RecordError(
      at,
      joinPath(path, 'rejected_images'),
      'the same as images (a rejected response about other images is no pair)',
      'others',
    );
  return responseText(last, at);
}
