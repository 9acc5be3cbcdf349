// SPDX-License-Identifier: Apache-2.0
// CHAIR-like figures of captions: named objects that are not in the image. Source: Rohrbach et al. 2018 (1809.02156);
// an object counts once a caption, however often it is named.
import { RecordError } from '../../records/error.ts';
import { describeValue, isObject } from '../../records/field.ts';
import {
  answersByModel,
  countStates,
  joinAnswers,
  type Label,
  labelsOfRecords,
  modelField,
  type OwnLabel,
  readAnswers,
  rowId,
} from './answers.ts';
import type { EvalFile } from './file.ts';
import { buildVocabulary, objectFinder, readSynonyms } from './objects.ts';
import { type EvalInput, type Evaluation, finite, labelHashes } from './score-row.ts';
import { clusteredInterval } from './statistics.ts';

interface CaptionLabel extends Label {
  objects: Set<string>;
}

/** Scores captions against object lists; the vocabulary is every object of the labels, and the names of --tables. */
export function scoreHallucination({ answers: files, labels: labelFiles, tables, options }: EvalInput): Evaluation {
  const notes: string[] = [];
  const labels =
    labelFiles.length > 0
      ? readLabels(labelFiles)
      : labelsOfRecords(files, '--labels FILE with lists of objects, or records with meta.objects', recordLabel);
  const { names, synonyms } = readSynonyms(tables);
  const all = new Set([...labels.flatMap((label) => [...label.objects]), ...names]);
  const findObjects = objectFinder(buildVocabulary(all, synonyms));
  const evaluation: Evaluation = { rows: [], items: [], notes, failed: 0 };
  for (const [model, ofModel] of answersByModel(readAnswers(files, options))) {
    const joined = joinAnswers(labels, ofModel, options, notes);
    const captions = joined.flatMap(({ label, answer }) => {
      if (answer === undefined || answer.failed !== undefined) return [];
      const named = findObjects(answer.text);
      const wrong = named.filter((object) => !label.objects.has(object));
      return [{ label, named: named.length, wrong: wrong.length, isSilent: named.length === 0 }];
    });
    const sum = (key: 'named' | 'wrong') => captions.reduce((total, caption) => total + caption[key], 0);
    const [said, bad] = [sum('named'), sum('wrong')];
    const present = captions.reduce((total, { label }) => total + label.objects.size, 0);
    const chairI = bad / Math.max(1, said);
    const precision = 1 - chairI;
    const recall = (said - bad) / Math.max(1, present);
    evaluation.rows.push({
      benchmark: 'hallucination',
      split: 'all',
      ...modelField(model),
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
      unparsed: captions.filter((caption) => caption.isSilent).length,
      ...countStates(joined),
      ...labelHashes(labelFiles),
    });
    evaluation.failed += countStates(joined).failed;
    // For comparing runs: the share of the caption's objects that are there.
    for (const { label, named, wrong } of captions)
      if (named > 0)
        evaluation.items.push({
          model,
          split: label.split,
          id: label.id,
          cluster: label.cluster,
          value: 1 - wrong / named,
        });
  }
  return evaluation;
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
