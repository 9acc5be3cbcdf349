// SPDX-License-Identifier: Apache-2.0
// Exact match with a reference answer, by kind of question: for label files of one's own.
import { RecordError, UsageError } from '../../records/error.ts';
import { describeValue } from '../../records/field.ts';
import type { VprefRecord } from '../../records/record.ts';
import {
  answersByModel,
  countStates,
  isRecord,
  joinAnswers,
  type Label,
  modelField,
  readAnswers,
  recordId,
  rowId,
} from './answers.ts';
import type { EvalFile } from './file.ts';
import { parseGqaStrict } from './gqa.ts';
import { pythonStrip } from './python.ts';
import { accuracy, type EvalInput, type Evaluation, groupBy, labelHashes } from './score-row.ts';

interface ExactLabel extends Label {
  answers: string[];
  kind: string;
}

/** Scores answers against `answer` (a string or several that are right); rows by `kind`. */
export function scoreExact({ answers: files, labels: labelFiles, options }: EvalInput): Evaluation {
  const notes: string[] = [];
  const labels = labelFiles.length > 0 ? readLabels(labelFiles) : labelsOfRecords(files);
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
      evaluation.rows.push({
        benchmark: 'exact',
        split,
        ...modelField(model),
        ...accuracy(part.flatMap(({ mark }) => mark ?? [])),
        ...countStates(part),
        ...labelHashes(labelFiles),
        parse: options.parse,
      });
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

function labelsOfRecords(files: readonly EvalFile[]): ExactLabel[] {
  return files.flatMap((file) =>
    file.rows.map(({ value, at }) => {
      const record = value as VprefRecord;
      if (!isRecord(value) || record.reference === undefined)
        throw new UsageError(`${at.source}:${at.line}: expected --labels FILE, or records that carry "reference"`);
      const id = recordId(record);
      return {
        id,
        split: '',
        cluster: record.images?.[0] ?? id,
        at,
        answers: answersOf(record.reference, 'reference', at),
        kind: String(record.meta?.kind ?? ''),
      };
    }),
  );
}
