// SPDX-License-Identifier: Apache-2.0
// An entry of LLaMA-Factory's dataset_info.json: the roles of a file's columns, and the keys of its messages.
//   Source: hiyouga/LLaMA-Factory data/README.md, src/llamafactory/data/parser.py.
import { RecordError, UsageError } from '../../records/error.ts';
import { describeValue, isObject, joinPath, type Place } from '../../records/field.ts';

/** Renames the row's columns to those that `import llama-factory` reads. Throws RecordError. */
export type RowConverter = (row: unknown, at: Place, path: string) => unknown;

export interface DatasetEntry {
  /** File name in the entry, relative to the folder of dataset_info.json. */
  fileName: string;
  convert: RowConverter;
}

type Fields = Record<string, unknown>;

const SHARED = ['system', 'tools', 'images', 'videos', 'audios', 'chosen', 'rejected', 'kto_tag'];
const NAMES: Readonly<Record<string, ReadonlyMap<string, string>>> = {
  alpaca: new Map([
    ['prompt', 'instruction'],
    ['query', 'input'],
    ['response', 'output'],
    ['history', 'history'],
    ...SHARED.map((name) => [name, name] as const),
  ]),
  sharegpt: new Map([['messages', 'conversations'], ...SHARED.map((name) => [name, name] as const)]),
};
const TAGS: Readonly<Record<string, string>> = {
  role_tag: 'from',
  content_tag: 'value',
  user_tag: 'human',
  assistant_tag: 'gpt',
  observation_tag: 'observation',
  function_tag: 'function_call',
  system_tag: 'system',
};
const KEYS = ['file_name', 'file_sha1', 'formatting', 'ranking', 'columns', 'tags', 'split'];

/** Reads an entry; `place` is its name for messages. Throws UsageError for a setting that we do not support. */
export function readDatasetEntry(entry: unknown, place: string): DatasetEntry {
  const refuse = (key: string, expected: string, got: unknown) => {
    throw new UsageError(`${place}: ${key}: expected ${expected}, got ${describeValue(got)}`);
  };
  if (!isObject(entry)) throw new UsageError(`${place}: expected an object, got ${describeValue(entry)}`);
  const { file_name: fileName, formatting = 'alpaca', ranking = false, split = 'train' } = entry;
  for (const [key, value] of Object.entries(entry))
    if (!KEYS.includes(key)) refuse(key, `a file in file_name and no more than ${KEYS.join(', ')}`, value);
  if (typeof fileName !== 'string' || fileName === '') refuse('file_name', 'the name of a file', fileName);
  const names = typeof formatting === 'string' && Object.hasOwn(NAMES, formatting) ? NAMES[formatting] : undefined;
  if (names === undefined) refuse('formatting', 'alpaca or sharegpt', formatting);
  if (split !== 'train') refuse('split', 'train', split);
  if (typeof ranking !== 'boolean') refuse('ranking', 'true or false', ranking);
  const columns = readTable(entry.columns, [...names!.keys()], (key, expected, got) =>
    refuse(`columns${key}`, expected, got),
  );
  const tags = readTable(entry.tags, Object.keys(TAGS), (key, expected, got) => refuse(`tags${key}`, expected, got));
  const isPair = columns !== undefined && ('chosen' in columns || 'rejected' in columns);
  if (columns !== undefined && isPair !== ranking)
    refuse('ranking', ranking ? 'chosen and rejected in columns with it' : 'true with chosen and rejected', ranking);
  const rename: RowConverter = columns === undefined ? (row) => row : renamer(columns, names!);
  const retag: RowConverter = tags === undefined ? (row) => row : retagger({ ...TAGS, ...tags });
  return { fileName: fileName as string, convert: (row, at, path) => retag(rename(row, at, path), at, path) };
}

/** An object of texts with these keys; undefined if absent. */
function readTable(
  value: unknown,
  keys: readonly string[],
  refuse: (key: string, expected: string, got: unknown) => void,
): Record<string, string> | undefined {
  if (value === undefined) return undefined;
  if (!isObject(value)) refuse('', 'an object', value);
  for (const [key, name] of Object.entries(value as Fields)) {
    if (!keys.includes(key)) refuse(`.${key}`, `one of ${keys.join(', ')}`, name);
    if (typeof name !== 'string' || name === '') refuse(`.${key}`, 'a text', name);
  }
  return value as Record<string, string>;
}

/** Columns named in the entry must exist; others must not have a name that import reads. */
function renamer(columns: Record<string, string>, names: ReadonlyMap<string, string>): RowConverter {
  const sources = new Set(Object.values(columns));
  return (row, at, path) => {
    if (!isObject(row)) return row;
    const renamed: Fields = {};
    for (const [role, column] of Object.entries(columns)) {
      if (!Object.hasOwn(row, column))
        throw new RecordError(at, joinPath(path, column), `a column, the entry's ${role}`, 'nothing');
      renamed[names.get(role)!] = row[column];
    }
    for (const [column, value] of Object.entries(row)) {
      if (sources.has(column)) continue;
      if (names.has(column) || Object.hasOwn(renamed, column) || [...names.values()].includes(column))
        throw new RecordError(
          at,
          joinPath(path, column),
          `a column that the entry's columns name (${[...sources].join(', ')})`,
          describeValue(value),
        );
      renamed[column] = value;
    }
    return renamed;
  };
}

/** Messages as {from, value} with speakers human, gpt and system. Other speakers stay unchanged and are refused later by name. */
function retagger(tags: Record<string, string>): RowConverter {
  const speakers = new Map(Object.entries(TAGS).map(([tag, name]) => [tags[tag]!, name]));
  const { role_tag: role = '', content_tag: content = '' } = tags;
  const message = (value: unknown): unknown => {
    if (!isObject(value) || !Object.hasOwn(value, role)) return value;
    const { [role]: speaker, [content]: text, ...rest } = value;
    return { ...rest, from: speakers.get(String(speaker)) ?? speaker, value: text };
  };
  return (row) => {
    if (!isObject(row)) return row;
    const retagged: Fields = { ...row };
    for (const key of ['conversations', 'chosen', 'rejected']) {
      const value = row[key];
      if (Array.isArray(value)) retagged[key] = value.map(message);
      else if (Object.hasOwn(row, key)) retagged[key] = message(value);
    }
    return retagged;
  };
}
