// SPDX-License-Identifier: Apache-2.0
// node --import tsx scripts/checks/english_words.ts nltk-english.json <TEXTS: JSON strings, one per line: our result with
// NLTK's tables for each, {words, tags, nouns, lemmas}. For official_hallucination.py.
import { readFileSync } from 'node:fs';
import { readEnglish } from '../../src/python/nltk/english.ts';

const path = process.argv[2]!;
const english = readEnglish(JSON.parse(readFileSync(path, 'utf8')), path);
for (const line of readFileSync(0, 'utf8').split('\n').filter(Boolean)) {
  const words = english.words(JSON.parse(line));
  const tags = english.tags(words);
  const lemmas = words.map((word, index) => english.lemma(word, tags[index]!));
  console.log(JSON.stringify({ words, tags, nouns: words.map((word) => english.noun(word)), lemmas }));
}
