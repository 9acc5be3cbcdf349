// SPDX-License-Identifier: Apache-2.0
// Captions of COCO images: mentioned objects against present ones, as counted by CHAIR and Object HalBench.

import { type English, isEnglishTables, readEnglish } from '../../python/nltk/english.ts';
import { RecordError, UsageError } from '../../records/error.ts';
import { type Answer, type Label, readAnswers } from './answers.ts';
import { cocoId, cocoTruth, type Mention, type readCocoObjects } from './coco.ts';
import type { EvalFile } from './file.ts';
import { type EvalInput, finite } from './score-row.ts';
import { clusteredInterval } from './statistics.ts';

export interface ImageLabel extends Label {
  classes: ReadonlySet<string>;
}

interface Named {
  label: ImageLabel;
  mentions: readonly Mention[];
}

/** Shares in percent: captions with an absent object, absent mentions, named classes of the images. */
export function chairFigures(captions: readonly Named[]) {
  const sum = (valueOfOne: (caption: Named) => number) =>
    captions.reduce((total, caption) => total + valueOfOne(caption), 0);
  const wrongOf = ({ label, mentions }: Named) => mentions.filter((one) => !label.classes.has(one.class)).length;
  const foundOf = ({ label, mentions }: Named) =>
    new Set(mentions.map((one) => one.class).filter((name) => label.classes.has(name))).size;
  const wrongCaptions = sum((caption) => +(wrongOf(caption) > 0));
  return {
    chair_i: finite((100 * sum(wrongOf)) / sum(({ mentions }) => mentions.length)),
    chair_s: finite((100 * wrongCaptions) / captions.length),
    recall: finite((100 * sum(foundOf)) / sum(({ label }) => label.classes.size)),
  };
}

export function mentionInterval(captions: readonly Named[]) {
  return clusteredInterval(
    captions.map(({ label, mentions }) => ({
      cluster: label.cluster,
      sums: [mentions.filter((mention) => !label.classes.has(mention.class)).length, mentions.length],
    })),
    ([wrong, all]) => (100 * wrong!) / all!,
    [0, 100],
  );
}

/** Answers by image; question numbers are ignored. */
export function cocoAnswers({ answers: files, options }: EvalInput): Answer[] {
  const byImage = files.map((file) => ({
    ...file,
    rows: file.rows.map(({ value, at }) => {
      const { question_id, ...others } = value;
      return { at, value: 'image_id' in value ? others : value };
    }),
  }));
  return readAnswers(byImage, options).map((answer) => ({ ...answer, id: cocoId(answer.id) }));
}

/** The images of the question files, or those with answers, with their classes. */
export function imageLabels(
  { labels: files, questions }: EvalInput,
  answers: readonly Answer[],
  { objects, read }: Pick<Reader, 'objects' | 'read'>,
  benchmark: string,
): ImageLabel[] {
  if (files.length === 0)
    throw new UsageError(
      `${benchmark}: expected --labels with COCO's instances_*.json and captions_*.json, or rows {image_id, objects}`,
    );
  const asked = questions.flatMap((file) =>
    file.rows.map(({ value, at }) => ({ id: cocoId(String(value.image_id ?? value.image)), at })),
  );
  const images = new Map((asked.length > 0 ? asked : answers).map(({ id, at }) => [id, at]));
  const truth = cocoTruth(files, new Set(images.keys()), objects, read);
  return [...images].map(([id, at]) => {
    const classes = truth.get(id);
    if (classes === undefined) throw new RecordError(at, 'image_id', 'an image of the label files', id);
    return { id, split: '', cluster: id, at, classes };
  });
}

export interface Reader {
  objects: ReturnType<typeof readCocoObjects>;
  /** A text's words in the variant's form, with pairs joined. */
  read(text: string): string[];
  dialect: string;
}

/** NLTK's tables from the side tables. */
export function englishOf(tables: readonly EvalFile[], benchmark: string): English {
  const file = tables.find((table) => isEnglishTables(table.object));
  if (file === undefined)
    throw new UsageError(
      `${benchmark}: --tables: expected nltk-english.json (scripts/tables/nltk_english.py), got none`,
    );
  return readEnglish(file.object!, file.path);
}
