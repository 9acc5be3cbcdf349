// SPDX-License-Identifier: Apache-2.0
// Finds the objects that a text names: words and their plurals, looked up in a vocabulary.
import { RecordError } from '../../records/error.ts';
import { describeValue, isObject } from '../../records/field.ts';
import type { EvalFile } from './file.ts';

/** Form -> object: a name's plural and synonyms map to the name. */
export type Vocabulary = Map<string, string>;

const IRREGULAR: Record<string, string> = {
  man: 'men',
  woman: 'women',
  person: 'people',
  child: 'children',
  foot: 'feet',
  tooth: 'teeth',
  goose: 'geese',
  mouse: 'mice',
  ox: 'oxen',
  knife: 'knives',
  wife: 'wives',
  life: 'lives',
  leaf: 'leaves',
  loaf: 'loaves',
  shelf: 'shelves',
  half: 'halves',
  wolf: 'wolves',
  calf: 'calves',
  scarf: 'scarves',
  sheep: 'sheep',
  fish: 'fish',
  deer: 'deer',
  scissors: 'scissors',
  skis: 'skis',
};

/** The plural of an English noun; of a phrase, with its last word in the plural. */
export function pluralOf(name: string): string {
  const at = name.lastIndexOf(' ') + 1;
  const word = name.slice(at);
  const irregular = IRREGULAR[word] ?? (/[a-z]man$/.test(word) ? `${word.slice(0, -3)}men` : undefined);
  if (irregular !== undefined) return name.slice(0, at) + irregular;
  if (/(?:s|x|z|ch|sh)$/.test(word)) return `${name}es`;
  if (/[^aeiou]y$/.test(word)) return `${name.slice(0, -1)}ies`;
  return `${name}s`;
}

/** A vocabulary of names and synonyms, each with its plural. */
export function buildVocabulary(
  names: Iterable<string>,
  synonyms: ReadonlyMap<string, string> = new Map(),
): Vocabulary {
  const vocabulary: Vocabulary = new Map();
  const add = (form: string, name: string) => {
    for (const spelling of [form, pluralOf(form)]) if (!vocabulary.has(spelling)) vocabulary.set(spelling, name);
  };
  for (const name of names) add(name.toLowerCase(), name);
  for (const [synonym, name] of synonyms) add(synonym.toLowerCase(), name);
  return vocabulary;
}

/** A finder of the objects that a text names, each once, in order of first mention; longer names win. */
export function objectFinder(vocabulary: Vocabulary): (text: string) => string[] {
  const forms = [...vocabulary.keys()].sort((a, b) => b.length - a.length);
  const escaped = forms.map((form) => form.replace(/[.*+?^${}()|[\]\\]/g, '\\$&').replace(/ /g, '\\s+'));
  const pattern = new RegExp(`(?<![\\p{L}\\p{N}_])(?:${escaped.join('|')})(?![\\p{L}\\p{N}_])`, 'giu');
  return (text) => {
    if (forms.length === 0) return [];
    const found = new Set<string>();
    for (const [match] of text.matchAll(pattern)) {
      // Words in capitals quote writing in the image, not objects.
      if (match.length > 1 && match === match.toUpperCase()) continue;
      found.add(vocabulary.get(match.toLowerCase().replace(/\s+/g, ' '))!);
    }
    return [...found];
  };
}

/**
 * Synonyms from side tables: a JSON object name -> other names (or a list of lists, first the name), or lines
 * "name, synonym, synonym" as CHAIR's synonyms.txt.
 */
export function readSynonyms(files: readonly EvalFile[]): { names: string[]; synonyms: Map<string, string> } {
  const names: string[] = [];
  const synonyms = new Map<string, string>();
  for (const file of files) {
    for (const [name, others] of Object.entries(file.object ?? {})) {
      if (!Array.isArray(others) || others.some((other) => typeof other !== 'string'))
        throw new RecordError({ source: file.path, line: 1 }, name, 'an array of names', describeValue(others));
      names.push(name);
      for (const other of others as string[]) synonyms.set(other, name);
    }
    for (const { value } of file.object === undefined ? file.rows : [])
      if (isObject(value) && Array.isArray(value.names)) {
        const [name, ...others] = value.names as string[];
        names.push(name!);
        for (const other of others) synonyms.set(other, name!);
      }
  }
  return { names, synonyms };
}
