// SPDX-License-Identifier: Apache-2.0
// Exact match with a reference answer, by kind of question: for label files of one's own.
import { RecordError } from '../../records/error.ts';
import { describeValue } from '../../records/field.ts';
import {
  accuracyRow,
  answersByModel,
  countStates,
  joinAnswers,
  type Label,
  labelsOfRecords,
  type OwnLabel,
  readAnswers,
  rowId,
} from './answers.ts';
import type { EvalFile } from './file.ts';
import { parseGqaStrict } from './gqa.ts';
import { pythonStrip } from './python.ts';
import { type EvalInput, type Evaluation, groupBy } from './score-row.ts';

interface ExactLabel extends Label {
  answers: string[];
  kind: string;
}

/** Scores answers against `answer` (a string or several that are right); rows by `kind`. */
export function scoreExact(input: EvalInput): Evaluation {
  const { answers: files, labels: labelFiles, options } = input;
  const notes: string[] = [];
  const labels =
    labelFiles.length > 0
      ? readLabels(labelFiles)
      : labelsOfRecords(files, '--labels FILE, or records that carry "reference"', recordLabel);
  const read = options.parse === 'official' ? pythonStrip : parseGqaStrict;
  const evaluation: Evaluation = { rows: [], items: [], notes, failed: 0 };
  for (const [model, ofModel] of answersByModel(readAnswers(files, options))) {
    const joined = joinAnswers(labels, ofModel, options, notes);
    const marks = joined.map(({ label, answer }) => {
      const isScored = answer !== undefined && answer.failed === undefined;
      const said = isScored ? read(answer.text) : '';
      const mark = {
        cluster: label.cluster,
        correct: label.answers.some((right) => read(right) === said),
        unparsed: said === '',
      };
      return { label, answer, mark: isScored ? mark : undefined };
    });
    const kinds = groupBy(marks, ({ label }) => label.kind);
    const parts = [...(kinds.size > 1 ? kinds : []), ['all', marks] as const];
    for (const [split, part] of parts)
      evaluation.rows.push(accuracyRow({ benchmark: 'exact', split, model }, part, input));
    evaluation.failed += countStates(joined).failed;
    for (const { label, mark } of marks)
      if (mark !== undefined)
        evaluation.items.push({ model, split: label.kind, id: label.id, cluster: label.cluster, value: +mark.correct });
  }
  return evaluation;
}

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
