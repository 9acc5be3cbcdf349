// SPDX-License-Identifier: Apache-2.0
// CHAIR as published: every mention of a COCO object counts. Two dialects are in use: singulars of pattern.en (Rohrbach et
// al., LisaAnne/Hallucination) and lemmas of WordNet by tag (OPERA and those after it; yuezih/less-is-more CHAIR-eval).
import { type English, isEnglishTables, readEnglish } from '../../python/nltk/english.ts';
import { pythonRound } from '../../python/number.ts';
import { RecordError, UsageError } from '../../records/error.ts';
import { describeValue, isObject } from '../../records/field.ts';
import { type Answer, type Label, readAnswers } from '../scoring/answers.ts';
import type { EvalFile } from '../scoring/file.ts';
import { countStates, type Joined } from '../scoring/join.ts';
import { type EvalInput, finite } from '../scoring/score-row.ts';
import { benchmarkScorer, failedAnswers } from '../scoring/scorer.ts';
import { clusteredInterval } from '../scoring/statistics.ts';
import { cocoId, cocoTruth, joinPairs, type Mention, mentionsOf, readCocoObjects } from './objects.ts';

export interface ImageLabel extends Label {
  classes: ReadonlySet<string>;
}

interface Caption extends Joined<ImageLabel> {
  /** Undefined: not scored. */
  mentions: Mention[] | undefined;
  numWords: number;
  dialect: string;
}

type Scored = Caption & { mentions: Mention[] };

/** Scores captions of COCO images against their instances and captions. */
export const scoreChair = benchmarkScorer<ImageLabel, Answer, Caption>({
  benchmark: 'chair',
  read(input) {
    const answers = cocoAnswers(input);
    const reader = readerOf(input.tables);
    return { answers, labels: imageLabels(input, answers, reader, 'chair') };
  },
  mark(joined, { tables }) {
    const reader = readerOf(tables);
    return joined.map((question): Caption => {
      const { answer } = question;
      const { dialect, objects } = reader;
      if (answer === undefined || answer.failed !== undefined)
        return { ...question, mentions: undefined, numWords: 0, dialect };
      const words = reader.read(answer.text);
      return { ...question, mentions: mentionsOf(words, objects), numWords: words.length, dialect };
    });
  },
  figures(part) {
    const captions = part.filter((caption): caption is Scored => caption.mentions !== undefined);
    const figures = chairFigures(captions.map(({ label, mentions }) => ({ label, mentions })));
    const numWords = captions.reduce((sum, caption) => sum + caption.numWords, 0);
    return {
      n: captions.length,
      score: figures.chair_i,
      ...(figures.chair_i !== null && { printed: pythonRound(figures.chair_i, 1) }),
      ...figures,
      // As the script prints it: hundreds of words.
      len: finite((0.01 * numWords) / captions.length),
      dialect: part[0]?.dialect ?? '',
      ...mentionInterval(captions),
      unparsed: captions.filter(({ mentions }) => mentions.length === 0).length,
      ...countStates(part),
    };
  },
  failed: failedAnswers,
  items: (questions) =>
    questions.flatMap(({ label, mentions = [] }) => {
      if (mentions.length === 0) return [];
      const wrong = mentions.filter((mention) => !label.classes.has(mention.class)).length;
      return [{ split: '', id: label.id, cluster: label.cluster, value: 1 - wrong / mentions.length }];
    }),
});

interface Named {
  label: ImageLabel;
  mentions: readonly Mention[];
}

/** Shares in percent: of captions with an absent object, of mentions that are absent, of the images' classes that are named. */
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

/** Answers by image, whatever question numbers stand beside. */
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

/** The images of the question files, or those that were answered, with what is in them. */
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

interface Reader {
  objects: ReturnType<typeof readCocoObjects>;
  /** A text's words, as the dialect has them, pairs as one. */
  read(text: string): string[];
  dialect: string;
}

function readerOf(tables: readonly EvalFile[]): Reader {
  const objects = readCocoObjects(tables, false, 'chair');
  const english = englishOf(tables, 'chair');
  const singularFile = tables.find((file) => file.object !== undefined && 'singular' in file.object);
  const singular = singularFile && readSingulars(singularFile);
  const read = (text: string) => {
    const words = english.words(text.toLowerCase());
    if (singular !== undefined)
      return joinPairs(
        words.map((word) => singular.get(word) ?? word),
        objects,
      );
    const tags = english.tags(words);
    return joinPairs(
      words.map((word, index) => english.lemma(word, tags[index]!)),
      objects,
    );
  };
  return { objects, read, dialect: singular === undefined ? 'lemma' : 'singularize' };
}

function readSingulars(file: EvalFile): Map<string, string> {
  const { singular } = file.object!;
  if (!isObject(singular))
    throw new RecordError(
      { source: file.path, line: 1 },
      'singular',
      'an object, form -> singular',
      describeValue(singular),
    );
  return new Map(Object.entries(singular).map(([form, word]) => [form, String(word)]));
}

/** NLTK's tables among the side tables. */
export function englishOf(tables: readonly EvalFile[], benchmark: string): English {
  const file = tables.find((table) => isEnglishTables(table.object));
  if (file === undefined)
    throw new UsageError(
      `${benchmark}: --tables: expected nltk-english.json (scripts/tables/nltk_english.py), got none`,
    );
  return readEnglish(file.object!, file.path);
}
