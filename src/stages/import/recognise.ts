// SPDX-License-Identifier: Apache-2.0
// Guesses the format of an item, for the error if it does not fit the named one.
import { RecordError } from '../../records/error.ts';
import { isObject } from '../../records/field.ts';
import { field } from './format.ts';
import type { ItemFields } from './item-fields.ts';

const has = (item: ItemFields, ...keys: string[]) => keys.every((key) => item[key] !== undefined && item[key] !== null);
const messagesOf = (item: ItemFields) => (Array.isArray(item.messages) ? item.messages : []);

// Most specific first: the first match counts. After the name: other formats that also read such items.
const LOOKS: readonly [string, readonly string[], (item: ItemFields) => boolean][] = [
  ['openai', [], (item) => has(item, 'preferred_output', 'input') || isObject(field(item.body, 'messages'))],
  ['openai', ['trl'], hasImageUrl],
  ['ms-swift', [], (item) => has(item, 'query', 'response')],
  [
    'ms-swift',
    ['sharegpt', 'llama-factory'],
    (item) => has(item, 'rejected_response') || has(item, 'rejected_messages'),
  ],
  ['seva', [], (item) => has(item, 'image_id', 'question', 'chosen')],
  ['scigraphqa', [], (item) => has(item, 'image_file') && (has(item, 'q_a_pairs') || has(item, 'conversations'))],
  ['lrv', [], (item) => has(item, 'image_id', 'question', 'answer')],
  ['helpsteer', [], (item) => has(item, 'prompt', 'response', 'helpfulness')],
  ['llama-factory', ['sharegpt'], (item) => has(item, 'conversations') && LESSONS.some((key) => has(item, key))],
  [
    'alpaca',
    ['llama-factory', 'ms-swift'],
    (item) => has(item, 'instruction') && (has(item, 'output') || has(item, 'chosen', 'rejected')),
  ],
  ['trl', [], (item) => has(item, 'chosen', 'rejected') || has(item, 'prompt', 'completion')],
  [
    'ms-swift',
    ['sharegpt', 'llama-factory', 'trl'],
    (item) => messagesOf(item).length > 0 && (has(item, 'images') || has(item, 'label')),
  ],
  ['llava', ['sharegpt', 'llama-factory', 'ms-swift'], (item) => has(item, 'conversations') && has(item, 'image')],
  ['sharegpt', ['llava', 'llama-factory', 'ms-swift'], (item) => has(item, 'conversations')],
  ['openai', ['trl', 'sharegpt', 'llama-factory', 'ms-swift'], (item) => messagesOf(item).length > 0],
];
const LESSONS = ['chosen', 'rejected', 'kto_tag'];

function hasImageUrl(item: ItemFields): boolean {
  return messagesOf(item).some((message) => {
    const content = field(message, 'content');
    return Array.isArray(content) && content.some((part) => field(part, 'type') === 'image_url');
  });
}

/** The error with the guessed format, or with the item's members, if the named format cannot be right. */
export function withLikelyFormat(error: unknown, item: unknown, named: string): unknown {
  if (!(error instanceof RecordError) || !isObject(item)) return error;
  const [likely, others = []] = LOOKS.find(([, , looks]) => looks(item)) ?? [];
  const hint =
    likely === undefined
      ? missingHint(error, item)
      : likely === named || others.includes(named)
        ? ''
        : likelyHint(likely);
  return hint === '' ? error : new RecordError(error, error.field, error.expected, error.got + hint);
}

function likelyHint(likely: string): string {
  return ` (the item looks like ${likely}: vpref import ${likely})`;
}

/** Probably an object around the items: `{"train": [...]}`, `{"0": {...}, "1": {...}}`. */
function missingHint(error: RecordError, item: ItemFields): string {
  if (error.got !== 'nothing') return '';
  const keys = Object.keys(item);
  const wrapped = keys.find(
    (key) => isObject(item[key]) || (Array.isArray(item[key]) && isObject((item[key] as unknown[])[0])),
  );
  if (wrapped === undefined) return '';
  const listed = keys
    .slice(0, 6)
    .map((key) => JSON.stringify(key.slice(0, 40)))
    .join(', ');
  return ` (an object with ${listed}${keys.length > 6 ? ', ...' : ''}; items are expected in an array or one per line)`;
}
