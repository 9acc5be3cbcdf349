// SPDX-License-Identifier: Apache-2.0
// SciGraphQA: a figure, its caption, and question-answer pairs. Only a judge sees title, abstract and caption.
import { RecordError } from '../../records/error.ts';
import {
  anything,
  arrayOf,
  checkShape,
  joinPath,
  nonEmptyString,
  object,
  type Place,
  type Shape,
  string,
} from '../../records/field.ts';
import { field, type ImportFormat, type ImportTurn, idField } from './format.ts';
import { isGiven, otherFields } from './item-fields.ts';
import { conversationTurns, dropNull } from './llava.ts';

const CONTEXT_FIELDS = ['caption', 'first_mention', 'title', 'abstract'] as const;

const pair: Shape<[string, string]> = {
  expected: 'a pair [question, answer]',
  schema: { type: 'array', items: { type: 'string' }, minItems: 2, maxItems: 2 },
  check: (value) =>
    Array.isArray(value) && value.length === 2 && value.every((text) => typeof text === 'string')
      ? undefined
      : { path: '', expected: 'a pair [question, answer]', got: JSON.stringify(value)?.slice(0, 60) ?? 'nothing' },
};
const shape = object(
  { image_file: nonEmptyString },
  { q_a_pairs: arrayOf(pair), conversations: arrayOf(object({ from: string, value: string })), caption: anything },
);

export const scigraphqa: ImportFormat = {
  summary: 'SciGraphQA: image_file, q_a_pairs or conversations, caption, title, abstract',
  defaultTurns: 'first',
  flags: ['turns'],
  info(value) {
    const id = idField(value, 'id');
    const pairs = field(value, 'q_a_pairs');
    const utterances = field(value, 'conversations');
    const numTurns = Array.isArray(pairs)
      ? pairs.length
      : Array.isArray(utterances)
        ? Math.ceil(utterances.length / 2)
        : 0;
    return { source: 'scigraphqa', numTurns, ...(id !== undefined && { id }) };
  },
  draft(value, at, path) {
    const item = checkShape(shape, dropNull(value, 'q_a_pairs', 'conversations'), at, path);
    const context = Object.fromEntries(CONTEXT_FIELDS.flatMap((key) => (item[key] ? [[key, item[key]]] : [])));
    const meta = otherMembers(item, at, path);
    return {
      images: [item.image_file],
      turns: itemTurns(item, at, path),
      ...(Object.keys(context).length > 0 && { context }),
      ...(meta !== undefined && { meta }),
    };
  },
};

// `response` repeats the dialogue as one text.
function otherMembers(item: Record<string, unknown>, at: Place, path: string): Record<string, unknown> | undefined {
  const used = ['id', 'image_file', 'q_a_pairs', 'conversations', 'response', ...CONTEXT_FIELDS];
  const { meta } = otherFields(item, used, at, path);
  return isGiven(item, 'response') ? { ...meta, response: item.response } : meta;
}

function itemTurns(
  item: { q_a_pairs?: [string, string][]; conversations?: { from: string; value: string }[] },
  at: Place,
  path: string,
): ImportTurn[] {
  if (item.q_a_pairs !== undefined && item.q_a_pairs.length > 0)
    return item.q_a_pairs.map(([question, response]) => ({ question, response }));
  if (item.conversations !== undefined && item.conversations.length > 0)
    return conversationTurns(item.conversations, at, joinPath(path, 'conversations')).turns;
  throw new RecordError(at, joinPath(path, 'q_a_pairs'), 'at least one pair [question, answer]', 'none');
}
