// SPDX-License-Identifier: Apache-2.0
// Shared by the benchmarks' importers: questions, protocol endings, options as lines.

import { RecordError } from '../records/error.ts';
import { idText } from '../records/exact.ts';
import { describeValue, isObject, type Place } from '../records/field.ts';
import type { Draft, FormatFlag, ImportFile, ImportFormat, ImportSetting } from '../stages/import/format.ts';
import { isEmpty, otherFields } from '../stages/import/item-fields.ts';
import { readItems, readValue } from '../stages/import/items.ts';
import type { JsonItem } from '../stages/import/json-items.ts';

/** A question with all data of its files. */
export interface BenchmarkQuestion {
  /** Unique in the benchmark; the record's id is `BENCHMARK/split/id`. */
  id: string;
  /** Split of the benchmark, for `eval`'s join by id and for --source. */
  split?: string;
  /** Members of the item that were read, or belong to its labels; others go to `meta`, or are refused. */
  reads: readonly string[];
  draft: Draft;
}

export const SHORT_ANSWER = 'Answer the question using a single word or phrase.';
export const LETTER_ANSWER = "Answer with the option's letter from the given choices directly.";
/** "Please answer with the option's letter directly.", LLaVA's Chinese ending. */
export const LETTER_ANSWER_CHINESE = '\u8bf7\u76f4\u63a5\u56de\u7b54\u9009\u9879\u5b57\u6bcd\u3002';

/** The format of a benchmark from a function that reads all its files at once. */
export function benchmarkFormat(
  name: string,
  summary: string,
  read: (files: readonly ImportFile[], setting: ImportSetting) => AsyncIterable<JsonItem>,
  flags: readonly FormatFlag[] = [],
): ImportFormat {
  return {
    summary,
    flags,
    marksMayBeText: true,
    allItems: read,
    info: (value) => {
      const { id, split } = (value ?? {}) as Partial<BenchmarkQuestion>;
      if (id === undefined) return {};
      return {
        id: [name, split, id].filter((part) => part !== undefined).join('/'),
        ...(split !== undefined && { source: split }),
      };
    },
    draft: (value) => {
      const { id, split, draft } = value as BenchmarkQuestion;
      const meta = { question_id: id, ...(split !== undefined && { split }), ...draft.meta };
      return { ...draft, meta };
    },
  };
}

/** The questions of items; `convert` returns undefined to skip an item. An error that it throws is the item's error. */
export async function* questionsOf(
  items: AsyncIterable<JsonItem>,
  convert: (value: Record<string, unknown>, item: JsonItem) => BenchmarkQuestion | undefined,
): AsyncGenerator<JsonItem> {
  for await (const item of items) {
    if (item.error !== undefined) {
      yield item;
      continue;
    }
    try {
      if (!isObject(item.value))
        throw new RecordError(item, item.path || 'item', 'an object', describeValue(item.value));
      const question = convert(item.value, item);
      if (question !== undefined) yield { ...item, value: withOthers(question, item.value, item) };
    } catch (error) {
      if (!(error instanceof RecordError)) throw error;
      yield { source: item.source, line: item.line, path: item.path, error };
    }
  }
}

/** The question with the item's other members. Throws RecordError for one that would be lost: a preference, a text, an image. */
function withOthers(question: BenchmarkQuestion, value: Record<string, unknown>, item: JsonItem): BenchmarkQuestion {
  const empty = Object.keys(value).filter((key) => isEmpty(value[key]));
  const { meta } = otherFields(value, [...question.reads, ...empty], item, item.path);
  return meta === undefined
    ? question
    : { ...question, draft: { ...question.draft, meta: { ...meta, ...question.draft.meta } } };
}

/** The entries of files that are one JSON object each (id -> question). */
export async function* objectItems(files: readonly ImportFile[]): AsyncGenerator<JsonItem & { key: string }> {
  for (const file of files) {
    const whole = await readValue(file);
    if (!isObject(whole))
      throw new RecordError({ source: file.source, line: 1 }, 'file', 'one JSON object', describeValue(whole));
    for (const [key, value] of Object.entries(whole)) yield { source: file.source, line: 1, path: key, key, value };
  }
}

/** The items of all files, arrays or JSON lines. */
export async function* listItems(files: readonly ImportFile[]): AsyncGenerator<JsonItem> {
  for (const file of files) yield* readItems(file);
}

/** The items one by one. */
export async function* eachOf(items: readonly JsonItem[]): AsyncGenerator<JsonItem> {
  yield* items;
}

/** "A. red" and so on, one per line, each after a line break. */
export function optionLines(options: readonly string[]): string {
  return options.map((option, index) => `\n${String.fromCharCode(65 + index)}. ${option}`).join('');
}

/** The text with the protocol's ending on a separate line, unless it has it or the protocol is plain. */
export function withEnding(
  text: string,
  ending: string,
  { protocol }: ImportSetting,
  byDefault: 'llava' | 'plain' = 'llava',
) {
  return (protocol ?? byDefault) === 'plain' || text.endsWith(ending) ? text : `${text}\n${ending}`;
}

/** A member that must be a non-empty string. */
export function textMember(value: Record<string, unknown>, key: string, place: MemberPlace): string {
  const text = value[key];
  if (typeof text === 'string' && text !== '') return text;
  throw badMember(key, place, 'a non-empty string', text);
}

/** A member that is an id: a string or a number. */
export function idMember(value: Record<string, unknown>, key: string, place: MemberPlace): string {
  const id = value[key];
  if (typeof id === 'number') return idText(value, key);
  if (typeof id === 'string' && id !== '') return id;
  throw badMember(key, place, 'a string or a number', id);
}

interface MemberPlace {
  at: Place;
  path: string;
}

function badMember(key: string, { at, path }: MemberPlace, expected: string, got: unknown): RecordError {
  return new RecordError(at, path === '' ? key : `${path}.${key}`, expected, describeValue(got));
}

/** Place of an item, for the member functions. */
export function placeOf(item: JsonItem): MemberPlace {
  return { at: item, path: item.path };
}

/** LLaVA's question rows (question_id, image, text with its ending), which hold no answers; undefined for others. */
export function llavaQuestion(
  value: Record<string, unknown>,
  item: JsonItem,
  convertId: (id: string) => string = (id) => id,
): BenchmarkQuestion | undefined {
  if (!('question_id' in value) || typeof value.text !== 'string' || 'answer_id' in value) return undefined;
  const place = placeOf(item);
  const { image, category } = value;
  return {
    id: convertId(idMember(value, 'question_id', place)),
    reads: ['question_id', 'image', 'text', 'category'],
    draft: {
      ...(typeof image === 'string' && { images: [image] }),
      prompt: textMember(value, 'text', place),
      ...(typeof category === 'string' && { meta: { category } }),
    },
  };
}
