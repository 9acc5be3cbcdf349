// SPDX-License-Identifier: Apache-2.0
// CHAIR as published: every mention of a COCO object counts. Two variants are in use: singulars of pattern.en (Rohrbach et
// al., LisaAnne/Hallucination) and lemmas of WordNet by tag (OPERA and those after it; yuezih/less-is-more CHAIR-eval).

import { pythonRound } from '../../python/number.ts';
import { RecordError } from '../../records/error.ts';
import { describeValue, isObject } from '../../records/field.ts';
import type { Answer } from '../scoring/answers.ts';
import { joinPairs, type Mention, mentionsOf, readCocoObjects } from '../scoring/coco.ts';
import type { EvalFile } from '../scoring/file.ts';
import { countStates, type Joined } from '../scoring/join.ts';
import {
  chairFigures,
  cocoAnswers,
  englishOf,
  type ImageLabel,
  imageLabels,
  mentionInterval,
  type Reader,
} from '../scoring/mentions.ts';
import { finite } from '../scoring/score-row.ts';
import { benchmarkScorer, failedAnswers } from '../scoring/scorer.ts';

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
      // As the script prints it: in hundreds of words.
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
