// SPDX-License-Identifier: Apache-2.0
// ShareGPT conversations as LLaMA-Factory and ms-swift read them: turns under `conversations` or `messages`, a
// `system` text, `images`, and for preference data `chosen` and `rejected` (or `rejected_response`).
import { RecordError } from '../../records/error.ts';
import { boolean, checkShape, describeValue, joinPath, type Place } from '../../records/field.ts';
import { type Draft, field, type ImportFormat, idField, imageSource, otherFields } from './format.ts';
import { conversationTurns, type Utterance } from './llava.ts';
import { imagePaths } from './messages.ts';

const SPEAKERS: Readonly<Record<string, string>> = {
  human: 'human',
  user: 'human',
  gpt: 'gpt',
  assistant: 'gpt',
  bot: 'gpt',
  system: 'system',
};
const USED = [
  'id',
  'conversations',
  'messages',
  'system',
  'image',
  'images',
  'chosen',
  'rejected',
  'rejected_response',
  'kto_tag',
  'label',
];

export const sharegpt: ImportFormat = {
  summary: 'ShareGPT conversations as LLaMA-Factory and ms-swift read them, with or without preferences',
  facts(value) {
    const id = idField(value, 'id');
    const turns = field(value, 'conversations') ?? field(value, 'messages');
    return {
      ...(id !== undefined && { id }),
      source: imageSource(field(value, 'images') ?? field(value, 'image')),
      numTurns:
        isPreference(value) || !Array.isArray(turns) ? 0 : turns.filter((turn) => speaker(turn) === 'human').length,
    };
  },
  draft(value, at, path) {
    const key = field(value, 'conversations') === undefined ? 'messages' : 'conversations';
    const item = value as Record<string, unknown>;
    const list = field(value, key);
    if (!Array.isArray(list))
      throw new RecordError(
        at,
        joinPath(path, 'conversations'),
        'an array of turns {from, value} or {role, content}',
        describeValue(list),
      );
    const utterances = list.map((turn, index) => utterance(turn, at, joinPath(path, `${key}[${index}]`)));
    const { system = item.system, turns } = conversationTurns(utterances, at, joinPath(path, key));
    const images = imagePaths(item, at, path);
    return {
      turns,
      ...(typeof system === 'string' && system !== '' && { system }),
      ...(images !== undefined && { images }),
      ...preference(item, turns, at, path),
      ...otherFields(item, USED),
    };
  },
};

function isPreference(value: unknown): boolean {
  return [field(value, 'chosen'), field(value, 'rejected_response')].some(
    (found) => found !== undefined && found !== null,
  );
}

function speaker(turn: unknown): string | undefined {
  const name = field(turn, 'from') ?? field(turn, 'role');
  return typeof name === 'string' ? SPEAKERS[name] : undefined;
}

function utterance(turn: unknown, at: Place, path: string): Utterance {
  const from = speaker(turn);
  const value = field(turn, 'value') ?? field(turn, 'content');
  const name = field(turn, 'from') ?? field(turn, 'role');
  if (from === undefined) throw new RecordError(at, `${path}.from`, 'human, gpt or system', describeValue(name));
  if (typeof value !== 'string') throw new RecordError(at, `${path}.value`, 'a string', describeValue(value));
  return { from, value };
}

/** chosen and rejected, or response and label; takes the chosen answer out of ms-swift's messages. */
function preference(
  item: Record<string, unknown>,
  turns: { answer?: string }[],
  at: Place,
  path: string,
): Partial<Draft> {
  const last = turns.at(-1)!;
  const tag = item.kto_tag ?? item.label;
  if (typeof tag === 'boolean' || item.kto_tag !== undefined) {
    const label = checkShape(boolean, tag, at, joinPath(path, 'kto_tag'));
    const response = last.answer;
    if (response === undefined)
      throw new RecordError(at, joinPath(path, 'conversations'), 'an answer to label', 'a last turn without one');
    delete last.answer;
    return { response, label };
  }
  if (!isPreference(item)) return {};
  const pair = { pair: { rule: 'imported' } };
  if (item.rejected_response !== undefined && item.rejected_response !== null) {
    const chosen = last.answer;
    if (chosen === undefined)
      throw new RecordError(at, joinPath(path, 'messages'), 'the chosen answer as last message', 'none');
    delete last.answer;
    return { chosen, rejected: answer(item.rejected_response, at, joinPath(path, 'rejected_response')), ...pair };
  }
  return {
    chosen: answer(item.chosen, at, joinPath(path, 'chosen')),
    rejected: answer(item.rejected, at, joinPath(path, 'rejected')),
    ...pair,
  };
}

function answer(value: unknown, at: Place, path: string): string {
  return typeof value === 'string' ? value : utterance({ from: 'gpt', ...(value as object) }, at, path).value;
}
