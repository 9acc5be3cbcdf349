// SPDX-License-Identifier: Apache-2.0
// CHAIR-like figures of captions: named objects that are not in the image. Source: Rohrbach et al. 2018 (1809.02156);
// an object counts once per caption.

import { RecordError } from '../../records/error.ts';
import { describeValue, isObject } from '../../records/field.ts';
import { type Answer, type Label, labelsOfRecords, type OwnLabel, readAnswers, rowId } from '../scoring/answers.ts';
import type { EvalFile } from '../scoring/file.ts';
import { countStates, type Joined } from '../scoring/join.ts';
import { buildVocabulary, objectFinder, readSynonyms } from '../scoring/objects.ts';
import { finite } from '../scoring/score-row.ts';
import { benchmarkScorer, failedAnswers } from '../scoring/scorer.ts';
import { clusteredInterval } from '../scoring/statistics.ts';

interface CaptionLabel extends Label {
  objects: Set<string>;
}

interface Caption extends Joined<CaptionLabel> {
  /** Named objects, and the absent ones among them; undefined: not scored. */
  named: number | undefined;
  wrong: number;
}

type ScoredCaption = Caption & { named: number };

/** Scores captions against object lists. The vocabulary is every object of the labels, plus the names of --tables. */
export const scoreHallucination = benchmarkScorer<CaptionLabel, Answer, Caption>({
  benchmark: 'hallucination',
  read: ({ answers, labels, options }) => ({
    answers: readAnswers(answers, options),
    labels:
      labels.length > 0
        ? readLabels(labels)
        : labelsOfRecords(answers, '--labels FILE with lists of objects, or records with meta.objects', recordLabel),
  }),
  mark(joined, { tables }) {
    const { names, synonyms } = readSynonyms(tables);
    const all = new Set([...joined.flatMap(({ label }) => [...label.objects]), ...names]);
    const findObjects = objectFinder(buildVocabulary(all, synonyms));
    return joined.map((question): Caption => {
      const { label, answer } = question;
      if (answer === undefined || answer.failed !== undefined) return { ...question, named: undefined, wrong: 0 };
      const named = findObjects(answer.text);
      return { ...question, named: named.length, wrong: named.filter((object) => !label.objects.has(object)).length };
    });
  },
  figures(part) {
    const captions = part.filter(isScored);
    const sum = (key: 'named' | 'wrong') => captions.reduce((total, caption) => total + caption[key], 0);
    const [said, bad] = [sum('named'), sum('wrong')];
    const present = captions.reduce((total, { label }) => total + label.objects.size, 0);
    const chairI = bad / Math.max(1, said);
    const precision = 1 - chairI;
    const recall = (said - bad) / Math.max(1, present);
    return {
      n: captions.length,
      score: captions.length === 0 ? null : 100 * chairI,
      chair_i: finite(captions.length === 0 ? Number.NaN : chairI),
      chair_s: finite(captions.filter((caption) => caption.wrong > 0).length / captions.length),
      recall,
      f1: (2 * precision * recall) / Math.max(1e-9, precision + recall),
      mentions: finite(said / captions.length),
      ...clusteredInterval(
        captions.map(({ label, named, wrong }) => ({ cluster: label.cluster, sums: [wrong, named] })),
        ([wrong, named]) => (100 * wrong!) / named!,
        [0, 100],
      ),
      unparsed: captions.filter((caption) => caption.named === 0).length,
      ...countStates(part),
    };
  },
  failed: failedAnswers,
  // For eval compare: the share of the caption's objects that are present.
  items: (questions) =>
    questions.filter(isScored).flatMap(({ label, named, wrong }) => {
      if (named === 0) return [];
      return [{ split: label.split, id: label.id, cluster: label.cluster, value: 1 - wrong / named }];
    }),
});

function isScored(caption: Caption): caption is ScoredCaption {
  return caption.named !== undefined;
}

function readLabels(files: readonly EvalFile[]): CaptionLabel[] {
  return files.flatMap((file) =>
    file.rows.map(({ value, at }) => {
      const id = rowId(value, at);
      return {
        id,
        split: file.stem,
        cluster: String(value.image ?? id),
        at,
        objects: new Set(objectNames(value.objects, at)),
      };
    }),
  );
}

function objectNames(objects: unknown, at: { source: string; line: number }): string[] {
  if (!Array.isArray(objects)) throw new RecordError(at, 'objects', 'an array of object names', describeValue(objects));
  return objects.map((object, index) => {
    const name = isObject(object) ? object.name : object;
    if (typeof name !== 'string') throw new RecordError(at, `objects[${index}]`, 'a name', describeValue(object));
    return name;
  });
}

function recordLabel({ record, id, cluster, at }: OwnLabel): CaptionLabel | undefined {
  const objects = record.meta?.objects;
  if (!Array.isArray(objects)) return undefined;
  return { id, split: '', cluster, at, objects: new Set(objectNames(objects, at)) };
}
