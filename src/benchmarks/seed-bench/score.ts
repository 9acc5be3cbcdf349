// SPDX-License-Identifier: Apache-2.0
// SEED-Bench v1: accuracy by question type, then image, video, all. Source: LLaVA's convert_seed_for_submission.py
// (letters), AILab-CVC/SEED-Bench eval.py (likelihood ranking).

import { RecordError } from '../../records/error.ts';
import { idText } from '../../records/exact.ts';
import { describeValue, isObject } from '../../records/field.ts';
import { type Answer, type Label, labelsOfRecords, type OwnLabel, readAnswers } from '../scoring/answers.ts';
import { likeliestLetter, strictLetter } from '../scoring/choice.ts';
import type { EvalFile } from '../scoring/file.ts';
import { type Joined, withoutUnasked } from '../scoring/join.ts';
import { groupBy, type Marked } from '../scoring/score-row.ts';
import {
  accuracyFigures,
  benchmarkScorer,
  failedAnswers,
  type MarkedQuestion,
  markedItems,
} from '../scoring/scorer.ts';

interface SeedLabel extends Label {
  answer: string;
  choices: string[];
  type: string;
  isVideo: boolean;
}

/** Scores letters, compared as strings. Records without a response are scored by choice_logps. */
export const scoreSeedBench = benchmarkScorer<SeedLabel, Answer, MarkedQuestion<SeedLabel>>({
  benchmark: 'seed-bench',
  read({ answers: files, labels, options }, notes) {
    const answers = readAnswers(files, options);
    return {
      answers,
      labels: withoutUnasked(readLabels(labels, files), answers, ({ isVideo }) => (isVideo ? 'video' : 'image'), notes),
    };
  },
  mark: (joined, { options }): MarkedQuestion<SeedLabel>[] =>
    joined.map((question) => ({ ...question, mark: markAnswer(question, options.parse) })),
  parts: (questions) => [
    ...groupBy(questions, ({ label }) => label.type),
    ['image', questions.filter(({ label }) => !label.isVideo)],
    ['video', questions.filter(({ label }) => label.isVideo)],
  ],
  figures: accuracyFigures,
  failed: failedAnswers,
  items: (questions) => markedItems(questions, ({ label }) => label.type),
});

// The official script counts a missing answer as wrong; strict mode skips it.
function markAnswer({ label, answer }: Joined<SeedLabel>, parse: 'official' | 'strict'): Marked | undefined {
  if (answer === undefined) return parse === 'official' ? { cluster: label.cluster, correct: false } : undefined;
  if (answer.failed !== undefined) return undefined;
  const letter = seedLetter(answer, label.choices, parse);
  return { cluster: label.cluster, correct: letter === label.answer, unparsed: !'ABCD'.includes(letter ?? '?') };
}

/** The unchanged text (official), or the selected option. */
function seedLetter(answer: Answer, choices: readonly string[], parse: 'official' | 'strict') {
  if (answer.record !== undefined && answer.response === undefined) return likeliestLetter(answer);
  if (parse === 'official') return answer.text === '' ? undefined : answer.text;
  return strictLetter(answer.text, choices);
}

function readLabels(files: readonly EvalFile[], answerFiles: readonly EvalFile[]): SeedLabel[] {
  if (files.length === 0)
    return labelsOfRecords(answerFiles, '--labels SEED-Bench.json, or records that carry "reference"', recordLabel);
  return files.flatMap((file) => {
    const { questions, question_type: types } = file.object ?? {};
    const names = new Map(isObject(types) ? Object.entries(types).map(([name, id]) => [id, name]) : []);
    const rows = Array.isArray(questions)
      ? questions
      : file.object === undefined
        ? file.rows.map((row) => row.value)
        : [];
    if (rows.length === 0)
      throw new RecordError(
        { source: file.path, line: 1 },
        'questions',
        "SEED-Bench.json's list of questions",
        describeValue(questions),
      );
    return rows.map((question: unknown, index: number) => {
      const at = { source: file.path, line: index + 1 };
      if (!isObject(question)) throw new RecordError(at, 'questions', 'a question, an object', describeValue(question));
      const { question_id: id, answer, data_type, question_type_id: typeId, data_id } = question;
      if (typeof id !== 'string' && typeof id !== 'number')
        throw new RecordError(at, 'question_id', 'a string or a number', describeValue(id));
      if (typeof answer !== 'string' || !/^[A-D]$/.test(answer))
        throw new RecordError(at, 'answer', 'one of A, B, C, D', describeValue(answer));
      return {
        id: idText(question, 'question_id'),
        split: '',
        cluster: String(data_id ?? id),
        at,
        answer,
        choices: ['a', 'b', 'c', 'd'].map((letter) => String(question[`choice_${letter}`] ?? '')),
        type: names.get(typeId) ?? `type ${typeId}`,
        isVideo: data_type === 'video',
      };
    });
  });
}

function recordLabel({ record: { reference, choices = [], meta }, id, cluster, at }: OwnLabel): SeedLabel | undefined {
  if (typeof reference !== 'string') return undefined;
  const type = String(meta?.question_type ?? 'all types');
  return { id, split: '', cluster, at, answer: reference, choices, type, isVideo: meta?.data_type === 'video' };
}
