// SPDX-License-Identifier: Apache-2.0
// NLTK's English pipeline with its tables, which scripts/tables/nltk_english.py puts into one file: words, tags, and
// lemmas (WordNetLemmatizer). Equal to NLTK 3.10.3; scripts/checks/official_hallucination.py compares both.
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
  /** The same with the tag's part of speech; as a noun if it is none of the four. */
  lemma(word: string, tag: string): string;
}

type Endings = readonly (readonly [string, string])[];

const NOUN_ENDINGS: Endings = [
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

const VERB_ENDINGS: Endings = [
  ['s', ''],
  ['ies', 'y'],
  ['es', 'e'],
  ['es', ''],
  ['ed', 'e'],
  ['ed', ''],
  ['ing', 'e'],
  ['ing', ''],
];
const ADJECTIVE_ENDINGS: Endings = [
  ['er', ''],
  ['est', ''],
  ['er', 'e'],
  ['est', 'e'],
];

/** Whether an object is the tables. */
export function isEnglishTables(value: unknown): boolean {
  return isObject(value) && 'nltk_english' in value;
}

/** Throws RecordError with file and table unless it is a table of scripts/tables/nltk_english.py. */
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
  const lemmatizer = (part: string, endings: Endings) => {
    const exceptions = read<Record<string, string[]>>(`${part}.exceptions`, isObject);
    const known = new Set(read<string[]>(`${part}.lemmas`, Array.isArray));
    return (word: string) => lemmaOf(word, { exceptions, known, endings });
  };
  const noun = lemmatizer('nouns', NOUN_ENDINGS);
  const byTag: Readonly<Record<string, (word: string) => string>> = {
    V: lemmatizer('verbs', VERB_ENDINGS),
    J: lemmatizer('adjectives', ADJECTIVE_ENDINGS),
    R: lemmatizer('adverbs', []),
  };
  return {
    words: (text) => textSentences(text, sentences).flatMap(sentenceWords),
    tags: (words) => tagWords(words, tagger),
    noun,
    lemma: (word, tag) => (byTag[tag[0] ?? ''] ?? noun)(word),
  };
}

interface LemmaTables {
  known: ReadonlySet<string>;
  exceptions: Readonly<Record<string, string[]>>;
  endings: Endings;
}

/** The shortest entry of WordNet among the word and its base forms; the word if there is none. */
function lemmaOf(word: string, { known, exceptions, endings }: LemmaTables): string {
  const forms = Object.hasOwn(exceptions, word)
    ? exceptions[word]!
    : endings.filter(([old]) => word.endsWith(old)).map(([old, own]) => word.slice(0, -old.length) + own);
  const found = [word, ...forms].filter((form) => known.has(form));
  return found.reduce((shortest, form) => (form.length < shortest.length ? form : shortest), found[0] ?? word);
}
