// SPDX-License-Identifier: Apache-2.0
// NLTK's reading of English on hard texts, with small tables: outcomes of NLTK itself by scripts/goldens/english.py.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { readEnglish } from '../../../src/python/nltk/english.ts';
import { textSentences } from '../../../src/python/nltk/sentences.ts';
import { sentenceWords } from '../../../src/python/nltk/words.ts';
import { fixture } from '../../support/evaluate.ts';

const golden = JSON.parse(readFileSync(fixture('golden/eval/nltk.json'), 'utf8'));
const english = readEnglish(golden.tables, 'tables.json');

test('sentences', () => {
  const { abbreviations, starters, collocations, contexts } = golden.tables.sentences;
  const tables = {
    abbreviations: new Set<string>(abbreviations),
    starters: new Set<string>(starters),
    collocations: new Set<string>(collocations.map((pair: string[]) => pair.join(' '))),
    contexts: new Map<string, number>(Object.entries(contexts)),
  };
  for (const [text, sentences] of golden.sentences) assert.deepEqual(textSentences(text, tables), sentences, text);
});

test('words of a sentence', () => {
  for (const [text, words] of golden.words) assert.deepEqual(sentenceWords(text), words, text);
});

test('tags', () => {
  for (const [words, tags] of golden.tags) assert.deepEqual(english.tags(words), tags, words.join(' '));
});

test('lemmas of nouns', () => {
  for (const [word, lemma] of golden.nouns) assert.equal(english.noun(word), lemma, word);
});

test('lemmas by tag', () => {
  for (const [word, tag, lemma] of golden.lemmas) assert.equal(english.lemma(word, tag), lemma, `${word}/${tag}`);
});

test('a text: its sentences, then their words', () => {
  assert.deepEqual(english.words('Dr. Smith left. The dogs, too.'), [
    'Dr.',
    'Smith',
    'left',
    '.',
    'The',
    'dogs',
    ',',
    'too',
    '.',
  ]);
});

test('tables that lack one are named', () => {
  assert.throws(
    () => readEnglish({ nltk_english: 1, sentences: {} }, 'e.json'),
    /e\.json:1: sentences\.abbreviations: expected a table of scripts\/tables\/nltk_english\.py, got nothing/,
  );
});
