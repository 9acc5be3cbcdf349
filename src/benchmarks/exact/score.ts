// SPDX-License-Identifier: Apache-2.0
// Exact match with a reference answer, by kind of question: for your own label files.

import { pythonStrip } from '../../python/text.ts';
import { RecordError } from '../../records/error.ts';
import { describeValue } from '../../records/field.ts';
import { type Answer, type Label, labelsOfRecords, type OwnLabel, readAnswers, rowId } from '../scoring/answers.ts';
import type { EvalFile } from '../scoring/file.ts';
import {
  accuracyFigures,
  benchmarkScorer,
  failedAnswers,
  type MarkedQuestion,
  markedItems,
  partsBy,
} from '../scoring/scorer.ts';
import { strictShortAnswer } from '../scoring/short-answer.ts';

interface ExactLabel extends Label {
  answers: string[];
  kind: string;
}

/** Scores answers against `answer` (a string, or several accepted ones); rows by `kind`. */
export const scoreExact = benchmarkScorer<ExactLabel, Answer, MarkedQuestion<ExactLabel>>({
  benchmark: 'exact',
  read: ({ answers, labels, options }) => ({
    answers: readAnswers(answers, options),
    labels:
      labels.length > 0
        ? readLabels(labels)
        : labelsOfRecords(answers, '--labels FILE, or records that carry "reference"', recordLabel),
  }),
  mark(joined, { options }): MarkedQuestion<ExactLabel>[] {
    const read = options.parse === 'official' ? pythonStrip : strictShortAnswer;
    return joined.map(({ label, answer }) => {
      if (answer === undefined || answer.failed !== undefined) return { label, answer, mark: undefined };
      const said = read(answer.text);
      const correct = label.answers.some((right) => read(right) === said);
      return { label, answer, mark: { cluster: label.cluster, correct, unparsed: said === '' } };
    });
  },
  parts: (questions) => partsBy(questions, ({ label }) => label.kind),
  figures: accuracyFigures,
  failed: failedAnswers,
  items: (questions) => markedItems(questions, ({ label }) => label.kind),
});

function answersOf(value: unknown, field: string, at: { source: string; line: number }): string[] {
  const answers = Array.isArray(value) ? value : [value];
  if (answers.length > 0 && answers.every((answer) => typeof answer === 'string')) return answers as string[];
  throw new RecordError(at, field, 'a string or an array of strings', describeValue(value));
}

function readLabels(files: readonly EvalFile[]): ExactLabel[] {
  return files.flatMap((file) =>
    file.rows.map(({ value, at }) => {
      const id = rowId(value, at);
      const { kind, category, image, answer, label } = value;
      return {
        id,
        split: file.stem,
        cluster: String(image ?? id),
        at,
        answers: answersOf(answer ?? label, 'answer', at),
        kind: String(kind ?? category ?? ''),
      };
    }),
  );
}

function recordLabel({ record: { reference, meta }, id, cluster, at }: OwnLabel): ExactLabel | undefined {
  if (reference === undefined) return undefined;
  return { id, split: '', cluster, at, answers: answersOf(reference, 'reference', at), kind: String(meta?.kind ?? '') };
}
