// SPDX-License-Identifier: Apache-2.0
// LLaVA instruction files: {id, image?, conversations: [{from: human|gpt, value}]}.
import { RecordError } from '../../records/error.ts';
import { arrayOf, checkShape, object, oneOf, type Place, string } from '../../records/field.ts';
import { field, type ImportFormat, type ImportTurn, idField, imageSource } from './format.ts';
import { otherFields } from './item-fields.ts';
import { imagePaths } from './messages.ts';

const conversations = arrayOf(
  object({ from: oneOf('human', 'gpt', 'system'), value: string }),
  'an array of turns {from, value}',
);
const shape = object({ conversations });

export const llava: ImportFormat = {
  summary: 'LLaVA instruction data, such as llava_v1_5_mix665k.json',
  marksMayBeText: true,
  flags: ['turns'],
  info(value) {
    const id = idField(value, 'id');
    const turns = field(value, 'conversations');
    return {
      ...(id !== undefined && { id }),
      source: imageSource(field(value, 'images') ?? field(value, 'image')),
      numTurns: Array.isArray(turns) ? turns.filter((turn) => field(turn, 'from') === 'human').length : 0,
    };
  },
  draft(value, at, path) {
    const item = checkShape(shape, value, at, path);
    const images = imagePaths(item, at, path);
    const { system, turns } = conversationTurns(item.conversations, at, `${path}${path && '.'}conversations`);
    return {
      turns,
      ...(system !== undefined && { system }),
      ...(images !== undefined && { images }),
      ...otherFields(item, ['id', 'image', 'images', 'conversations'], at, path),
    };
  },
};

export interface Utterance {
  from: string;
  value: string;
  /** The file's names of speakers: from human and gpt, or role user and assistant. */
  roleKey?: 'from' | 'role';
}

const ROLE_NAMES: Readonly<Record<string, string>> = { human: 'user', gpt: 'assistant' };

/**
 * Questions with their responses. The first speaker may be "system"; then human and gpt alternate, human
 * first. Throws RecordError with the turn that is out of order.
 */
export function conversationTurns(
  utterances: readonly Utterance[],
  at: Place,
  path: string,
): { system?: string; turns: ImportTurn[] } {
  const hasSystem = utterances[0]?.from === 'system';
  const turns: ImportTurn[] = [];
  for (const [index, { from, value, roleKey = 'from' }] of utterances.entries()) {
    if (index === 0 && hasSystem) continue;
    const last = turns.at(-1);
    const expected = last === undefined || last.response !== undefined ? 'human' : 'gpt';
    const name = (speaker: string) => JSON.stringify(roleKey === 'from' ? speaker : (ROLE_NAMES[speaker] ?? speaker));
    if (from !== expected) throw new RecordError(at, `${path}[${index}].${roleKey}`, name(expected), name(from));
    if (from === 'human') turns.push({ question: value });
    else last!.response = value;
  }
  if (turns.length === 0) throw new RecordError(at, path, 'at least one human turn', 'none');
  return { turns, ...(hasSystem && { system: utterances[0]!.value }) };
}

/** The object without null members, which data frames add. */
export function dropNull(value: unknown, ...keys: string[]): unknown {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return value;
  return Object.fromEntries(Object.entries(value).filter(([key, member]) => member !== null || !keys.includes(key)));
}
