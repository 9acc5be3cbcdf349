// SPDX-License-Identifier: Apache-2.0
// NLTK's reading of English with its own tables, which scripts/tables/nltk_english.py puts into one file: words, tags, and
// the lemmas of nouns (WordNetLemmatizer). As NLTK 3.10.3; scripts/checks/official_hallucination.py holds it against it.
import { RecordError } from '../../records/error.ts';
import { describeValue, isObject } from '../../records/field.ts';
import { type SentenceTables, textSentences } from './sentences.ts';
import { type TaggerTables, tagWords } from './tagger.ts';
import { sentenceWords } from './words.ts';

export interface English {
  /** word_tokenize. */
  words(text: string): string[];
  /** pos_tag. */
  tags(words: readonly string[]): string[];
  /** WordNetLemmatizer().lemmatize(word), as a noun. */
  noun(word: string): string;
}

const ENDINGS: readonly [string, string][] = [
  ['s', ''],
  ['ses', 's'],
  ['ves', 'f'],
  ['xes', 'x'],
  ['zes', 'z'],
  ['ches', 'ch'],
  ['shes', 'sh'],
  ['men', 'man'],
  ['ies', 'y'],
];

/** Whether an object is the tables. */
export function isEnglishTables(value: unknown): boolean {
  return isObject(value) && 'nltk_english' in value;
}

/** Throws RecordError, naming the file and the table, for what is no table of scripts/tables/nltk_english.py. */
export function readEnglish(value: Record<string, unknown>, source: string): English {
  const read = <T>(path: string, isRight: (found: unknown) => boolean): T => {
    const found = path.split('.').reduce<unknown>((inner, key) => (isObject(inner) ? inner[key] : undefined), value);
    if (isRight(found)) return found as T;
    throw new RecordError({ source, line: 1 }, path, 'a table of scripts/tables/nltk_english.py', describeValue(found));
  };
  const sentences: SentenceTables = {
    abbreviations: new Set(read<string[]>('sentences.abbreviations', Array.isArray)),
    starters: new Set(read<string[]>('sentences.starters', Array.isArray)),
    collocations: new Set(read<string[][]>('sentences.collocations', Array.isArray).map((pair) => pair.join(' '))),
    contexts: new Map(Object.entries(read<Record<string, number>>('sentences.contexts', isObject))),
  };
  const tagger: TaggerTables = {
    weights: read('tagger.weights', isObject),
    tagdict: read('tagger.tagdict', isObject),
    classes: read('tagger.classes', Array.isArray),
  };
  const exceptions = read<Record<string, string[]>>('nouns.exceptions', isObject);
  const known = new Set(read<string[]>('nouns.lemmas', Array.isArray));
  return {
    words: (text) => textSentences(text, sentences).flatMap(sentenceWords),
    tags: (words) => tagWords(words, tagger),
    noun(word) {
      const forms = Object.hasOwn(exceptions, word)
        ? exceptions[word]!
        : ENDINGS.filter(([old]) => word.endsWith(old)).map(([old, own]) => word.slice(0, -old.length) + own);
      const found = [word, ...forms].filter((form) => known.has(form));
      return found.reduce((shortest, form) => (form.length < shortest.length ? form : shortest), found[0] ?? word);
    },
  };
}
