// SPDX-License-Identifier: Apache-2.0
// Small tables in the form of nltk-english.json: what is in no list is a noun, and nouns lose a plural s.
import { readFileSync } from 'node:fs';
import { fixture } from './evaluate.ts';

const { tables } = JSON.parse(readFileSync(fixture('golden/eval/nltk.json'), 'utf8'));

/** The tables with these nouns; words of `tags` are tagged as it says. */
export function englishTables(nouns: string, tags: Record<string, string> = {}): string {
  const tagdict = { the: 'DT', a: 'DT', '.': '.', ',': ',', and: 'CC', of: 'IN', is: 'VBZ', ...tags };
  return JSON.stringify({
    ...tables,
    tagger: { weights: { bias: { NN: 1 } }, tagdict, classes: ['NN', ...new Set(Object.values(tagdict))] },
    nouns: { lemmas: nouns.split(' '), exceptions: {} },
  });
}
