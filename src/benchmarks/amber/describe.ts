// SPDX-License-Identifier: Apache-2.0
// Objects that a description names. AMBER's script finds nouns with NLTK, looks them up in its closed vocabulary, and adds
// near words by spaCy's vectors. Source: junyangwang0410/AMBER inference.py.
import { type English, isEnglishTables, readEnglish } from '../../python/nltk/english.ts';
import { RecordError, UsageError } from '../../records/error.ts';
import { describeValue, isObject } from '../../records/field.ts';
import type { EvalFile } from '../scoring/file.ts';
import type { AmberLabel } from './label.ts';

export interface AmberTables {
  english: English;
  /** Word -> its synonyms. */
  associations: ReadonlyMap<string, readonly string[]>;
  vocabulary: ReadonlySet<string>;
  /** Words that fit any image. */
  safe: ReadonlySet<string>;
  /** undefined: no such table. */
  similar: Similar | undefined;
}

/** Near words of the vocabulary, and the vectors behind them. */
interface Similar {
  model: string;
  near: ReadonlyMap<string, ReadonlySet<string>>;
}

/** Counts of a description. */
export interface Named {
  nouns: number;
  hallucinated: number;
  /** Named words of the label's truth. */
  covered: number;
  /** Named words of the label's typical hallucinations. */
  imagined: number;
}

/** The tables, recognised by content. Throws UsageError for a missing one. */
export function readAmberTables(files: readonly EvalFile[]): AmberTables {
  const englishFile = files.find((file) => isEnglishTables(file.object));
  const similarFile = files.find((file) => file.object !== undefined && 'similar' in file.object);
  const relation = files.find((file) => file.object !== undefined && file !== englishFile && file !== similarFile);
  const safeFile = files.find((file) => file.rows.some(({ value }) => Array.isArray(value.names)));
  const missing = [
    relation === undefined && 'relation.json',
    safeFile === undefined && 'safe_words.txt',
    englishFile === undefined && 'nltk-english.json (scripts/tables/nltk_english.py)',
  ].filter((name) => name !== false);
  if (relation === undefined || safeFile === undefined || englishFile === undefined)
    throw new UsageError(
      `amber: descriptions are read with tables; --tables: expected ${missing.join(', ')}, got none`,
    );
  const associations = readLists(relation.object!, relation.path);
  const vocabulary = new Set([...associations].flatMap(([word, others]) => [word, ...others]));
  return {
    english: readEnglish(englishFile.object!, englishFile.path),
    associations,
    vocabulary,
    safe: new Set(safeFile.rows.map(({ value }) => (value.names as string[])[0]!)),
    similar: similarFile && readSimilar(similarFile, vocabulary),
  };
}

function readLists(object: Record<string, unknown>, source: string): Map<string, string[]> {
  return new Map(
    Object.entries(object).map(([word, others]) => {
      if (!Array.isArray(others) || !others.every((other) => typeof other === 'string'))
        throw new RecordError({ source, line: 1 }, word, 'a list of words', describeValue(others));
      return [word, others];
    }),
  );
}

/** AMBER uses these vectors. With others, or over other words, figures would not be comparable. */
function readSimilar({ object, path }: EvalFile, vocabulary: ReadonlySet<string>): Similar {
  const at = { source: path, line: 1 };
  const { similar, model } = object!;
  if (typeof model !== 'string' || !/^en_core_web_lg \S/.test(model))
    throw new RecordError(
      at,
      'model',
      'en_core_web_lg and its version (scripts/tables/amber_similar.py)',
      describeValue(model),
    );
  if (!isObject(similar)) throw new RecordError(at, 'similar', 'an object of lists of words', describeValue(similar));
  const lists = readLists(similar, path);
  for (const word of vocabulary)
    if (!lists.has(word))
      throw new RecordError(at, `similar.${word}`, 'a list for every word of relation.json', 'nothing');
  return { model, near: new Map([...lists].map(([word, others]) => [word, new Set(others)])) };
}

/** The nouns of the text that are in the vocabulary. */
function knownNouns(text: string, { english, vocabulary }: AmberTables): string[] {
  const words = english.words(text);
  const tags = english.tags(words);
  return words
    .filter((_, index) => tags[index]!.startsWith('NN'))
    .map((word) => english.noun(word))
    .filter((noun) => vocabulary.has(noun));
}

/** Counts the named objects. Throws RecordError for a label's word without associations. */
export function describe(text: string, label: AmberLabel, tables: AmberTables): Named {
  const truth = spread(label.truth, label, tables);
  const hallu = spread(label.hallu, label, tables);
  const isNear = (noun: string) => (word: string) => tables.similar?.near.get(noun)?.has(word) === true;
  const nouns = knownNouns(text, tables);
  const covered = new Set<number>();
  const imagined = new Set<number>();
  /** Records the object of the first matching word. */
  const note = (noted: Set<number>, { words, standsFor }: Spread, fits: (word: string) => boolean) => {
    const at = words.findIndex(fits);
    if (at !== -1) noted.add(standsFor[at]!);
    return at !== -1;
  };
  const hallucinated = nouns.filter((noun) => {
    const isSame = (word: string) => word === noun;
    if (tables.safe.has(noun) || note(covered, truth, isSame)) return false;
    note(imagined, hallu, isSame);
    note(imagined, hallu, isNear(noun));
    return !note(covered, truth, isNear(noun));
  });
  return {
    nouns: nouns.length,
    hallucinated: hallucinated.length,
    covered: covered.size,
    imagined: imagined.size,
  };
}

interface Spread {
  words: string[];
  /** For each word, the index of its label word. */
  standsFor: number[];
}

/** The associations of all words first, then the words, in the script's order. */
function spread(words: readonly string[], { at }: AmberLabel, { associations }: AmberTables): Spread {
  const others = words.flatMap((word, place) => {
    const list = associations.get(word);
    if (list === undefined) throw new RecordError(at, 'truth', 'words of relation.json', JSON.stringify(word));
    return list.map((other) => [other, place] as const);
  });
  const all = [...others, ...words.map((word, place) => [word, place] as const)];
  return { words: all.map(([word]) => word), standsFor: all.map(([, place]) => place) };
}
