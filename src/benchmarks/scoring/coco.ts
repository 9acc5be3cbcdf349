// SPDX-License-Identifier: Apache-2.0
// COCO's 80 classes in captions: synonyms, pairs of words that are one name, and the classes of an image by its
// instances and captions. Source: LisaAnne/Hallucination utils/chair.py.

import { RecordError, UsageError } from '../../records/error.ts';
import { describeValue, isObject } from '../../records/field.ts';
import type { EvalFile } from './file.ts';

export interface CocoObjects {
  /** Name or synonym -> class. */
  classes: ReadonlyMap<string, string>;
  /** Two words -> the name that they form. */
  pairs: ReadonlyMap<string, string>;
}

/** A class that a text names. */
export interface Mention {
  word: string;
  class: string;
}

const ANIMALS = 'bird cat dog horse sheep cow elephant bear zebra giraffe animal cub'.split(' ');
const VEHICLES = ['jet', 'train'];

/**
 * The classes of a synonyms file. `isTrimmed`: names without outer blanks, as Object HalBench reads them; the original keeps
 * a second blank after a comma, so that such a name ("motor bike") is never found.
 */
export function readCocoObjects(tables: readonly EvalFile[], isTrimmed: boolean, benchmark: string): CocoObjects {
  const lines = tables.flatMap((file) =>
    file.rows.flatMap(({ value }) => (typeof value.line === 'string' ? value.line : [])),
  );
  if (lines.length === 0)
    throw new UsageError(
      `${benchmark}: --tables: expected synonyms.txt ("dog, puppy" a line, the class first), got none`,
    );
  const classes = new Map<string, string>();
  const pairs = new Map([
    ['home plate', 'home plate'],
    ['train track', 'train track'],
  ]);
  for (const line of lines) {
    const names = line
      .trim()
      .split(', ')
      .map((name) => (isTrimmed ? name.trim() : name));
    for (const name of names) {
      classes.set(name, names[0]!);
      const pair = name.trim();
      // The original lists all pairs except this one.
      const isListed = isTrimmed || pair !== 'dining table';
      if (isListed && pair.split(' ').length === 2) pairs.set(pair, pair);
    }
  }
  for (const animal of ANIMALS) for (const age of ['baby', 'adult']) pairs.set(`${age} ${animal}`, animal);
  for (const vehicle of VEHICLES) pairs.set(`passenger ${vehicle}`, vehicle);
  pairs.set('bow tie', 'tie').set('toilet seat', 'toilet').set('wine glas', 'wine glass');
  return { classes, pairs };
}

/** The words, with pairs joined. */
export function joinPairs(words: readonly string[], { pairs }: CocoObjects): string[] {
  const joined: string[] = [];
  for (let at = 0; at < words.length; at++) {
    const pair = pairs.get(words.slice(at, at + 2).join(' '));
    joined.push(pair ?? words[at]!);
    if (pair !== undefined) at += 1;
  }
  return joined;
}

/** Every mention of a class in joined words. A toilet seat is no chair. */
export function mentionsOf(joined: readonly string[], { classes }: CocoObjects): Mention[] {
  const hasToilet = joined.includes('toilet');
  return joined.flatMap((word) => {
    const named = hasToilet && word === 'seat' ? undefined : classes.get(word);
    return named === undefined ? [] : [{ word, class: named }];
  });
}

/** COCO_val2014_000000002239.jpg, 000000002239.jpg and 2239 are one image. */
export function cocoId(id: string): string {
  const digits = /(\d+)(?:\.\w+)?$/.exec(id)?.[1];
  return digits === undefined ? id : String(BigInt(digits));
}

/**
 * Classes of each requested image: those of its instances, and those that its captions name. Files are COCO's
 * instances_*.json and captions_*.json, or rows {image_id, objects}. Throws UsageError for an image without data.
 */
export function cocoTruth(
  files: readonly EvalFile[],
  wanted: ReadonlySet<string>,
  objects: CocoObjects,
  read: (caption: string) => string[],
): Map<string, Set<string>> {
  const truth = new Map<string, Set<string>>();
  const add = (id: unknown, classes: readonly string[]) => {
    const key = cocoId(String(id));
    if (!wanted.has(key)) return;
    const known = truth.get(key) ?? new Set();
    for (const name of classes) known.add(name);
    truth.set(key, known);
  };
  for (const file of files) {
    const { annotations, categories, images } = file.object ?? {};
    if (!Array.isArray(annotations)) {
      for (const { value, at } of file.rows) add(value.image_id ?? value.id, ownClasses(value.objects, at, objects));
      continue;
    }
    for (const image of Array.isArray(images) ? images.filter(isObject) : []) add(image.id, []);
    const names = categoryNames(categories, file, objects);
    for (const annotation of annotations.filter(isObject)) {
      const { image_id: id, category_id: category, caption } = annotation;
      if (typeof caption === 'string') {
        if (wanted.has(cocoId(String(id))))
          add(
            id,
            mentionsOf(read(caption), objects).map((one) => one.class),
          );
      } else add(id, [names.get(category) ?? noCategory(category, file)]);
    }
  }
  return truth;
}

function noCategory(category: unknown, file: EvalFile): never {
  throw new RecordError(
    { source: file.path, line: 1 },
    'annotations[].category_id',
    'one of categories',
    describeValue(category),
  );
}

function categoryNames(categories: unknown, file: EvalFile, { classes }: CocoObjects): Map<unknown, string> {
  const at = { source: file.path, line: 1 };
  return new Map(
    (Array.isArray(categories) ? categories : []).filter(isObject).map(({ id, name }) => {
      const named = classes.get(String(name));
      if (named === undefined)
        throw new RecordError(at, 'categories[].name', 'a class of synonyms.txt', describeValue(name));
      return [id, named];
    }),
  );
}

function ownClasses(value: unknown, at: { source: string; line: number }, { classes }: CocoObjects): string[] {
  if (!Array.isArray(value)) throw new RecordError(at, 'objects', 'a list of names', describeValue(value));
  return value.map((name, index) => {
    const named = classes.get(String(name));
    if (named === undefined)
      throw new RecordError(at, `objects[${index}]`, 'a class or synonym of synonyms.txt', describeValue(name));
    return named;
  });
}
