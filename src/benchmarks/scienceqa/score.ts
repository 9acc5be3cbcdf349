// SPDX-License-Identifier: Apache-2.0
// ScienceQA: accuracy overall, with and without image, by subject, context and grade. Source: LLaVA's eval_science_qa.py.

import { RecordError, UsageError } from '../../records/error.ts';
import { describeValue, type Place } from '../../records/field.ts';
import { type Answer, type Label, labelsOfRecords, type OwnLabel, readAnswers } from '../scoring/answers.ts';
import { likeliestLetter, strictLetter } from '../scoring/choice.ts';
import { type EvalFile, type JsonObject, objectEntries } from '../scoring/file.ts';
import type { Joined } from '../scoring/join.ts';
import type { Marked } from '../scoring/score-row.ts';
import {
  accuracyFigures,
  benchmarkScorer,
  failedAnswers,
  type MarkedQuestion,
  markedItems,
} from '../scoring/scorer.ts';

interface ScienceLabel extends Label {
  choices: string[];
  /** Index of the right choice. */
  answer: number;
  hasImage: boolean;
  hasHint: boolean;
  subject: string;
  /** 1..12, 0 if unknown. */
  grade: number;
}

const OPTIONS = 'ABCDE';

/** The letter the official parser reads; undefined: failed, which counts as wrong. */
export function parseScienceOfficial(text: string): string | undefined {
  if (text.length === 1 && OPTIONS.includes(text)) return text;
  const [first, second, third] = [...text];
  if (first !== undefined && OPTIONS.includes(first) && second === '.' && third === ' ') return first;
  // The dot of the official pattern matches any character except a line break.
  const said = [...text.matchAll(/The answer is ([A-Z])[^\n]/g)].map((match) => match[1]!);
  return said.length === 1 ? said[0] : undefined;
}

interface ScienceQuestion extends MarkedQuestion<ScienceLabel> {
  isMultimodal: boolean;
}

const PARTS: [string, (question: ScienceQuestion) => boolean][] = [
  ['natural science', ({ label }) => label.subject === 'natural science'],
  ['social science', ({ label }) => label.subject === 'social science'],
  ['language science', ({ label }) => label.subject === 'language science'],
  ['text context', ({ label }) => label.hasHint],
  ['image context', ({ label }) => label.hasImage],
  ['no context', ({ label }) => !label.hasHint && !label.hasImage],
  ['grade 1-6', ({ label }) => label.grade >= 1 && label.grade <= 6],
  ['grade 7-12', ({ label }) => label.grade >= 7],
  ['image', (question) => question.isMultimodal],
  ['text', (question) => !question.isMultimodal],
];

/** Scores answers to problems.json; --split, default test. */
export const scoreScienceQA = benchmarkScorer<ScienceLabel, Answer, ScienceQuestion>({
  benchmark: 'scienceqa',
  read: ({ answers, labels, options }) => ({
    answers: readAnswers(answers, options),
    labels:
      labels.length > 0
        ? readLabels(labels, options.split)
        : labelsOfRecords(
            answers,
            '--labels problems.json, or records that carry "reference" and "choices"',
            recordLabel,
          ),
  }),
  mark: (joined, { options }) =>
    joined.map(
      (question): ScienceQuestion => ({
        ...question,
        mark: markAnswer(question, options.parse),
        isMultimodal: isMultimodal(question, options.parse),
      }),
    ),
  parts: (questions) => PARTS.map(([split, isIn]) => [split, questions.filter(isIn)] as const),
  figures: accuracyFigures,
  failed: failedAnswers,
  items: (questions) => markedItems(questions, ({ isMultimodal }) => (isMultimodal ? 'image' : 'text')),
});

// The official script counts a missing answer as failed, so wrong, and as a question without image.
function markAnswer({ label, answer }: Joined<ScienceLabel>, parse: 'official' | 'strict'): Marked | undefined {
  if (answer === undefined)
    return parse === 'official' ? { cluster: label.cluster, correct: false, unparsed: true } : undefined;
  if (answer.failed !== undefined) return undefined;
  const letter = scienceLetter(answer, label.choices, parse);
  const index = letter === undefined ? -1 : OPTIONS.slice(0, label.choices.length).indexOf(letter);
  return { cluster: label.cluster, correct: index === label.answer, unparsed: letter === undefined };
}

function scienceLetter(answer: Answer, choices: readonly string[], parse: 'official' | 'strict') {
  if (answer.record !== undefined && answer.response === undefined) return likeliestLetter(answer);
  return parse === 'official' ? parseScienceOfficial(answer.text) : strictLetter(answer.text, choices);
}

function isMultimodal({ label, answer }: Joined<ScienceLabel>, parse: 'official' | 'strict'): boolean {
  const prompt = answer?.row.prompt;
  if (parse === 'official' && answer?.record === undefined) {
    if (answer === undefined) return false;
    if (typeof prompt === 'string') return prompt.includes('<image>');
  }
  return label.hasImage;
}

function readLabels(files: readonly EvalFile[], split: string): ScienceLabel[] {
  const splits = files.find((file) => Array.isArray(file.object?.[split]));
  const ids = splits === undefined ? undefined : new Set((splits.object![split] as unknown[]).map(String));
  const labels = files
    .filter((file) => file !== splits)
    .flatMap((file) =>
      objectEntries(file, 'a problem, an object').flatMap(({ key, value, at }) =>
        (ids === undefined ? (value.split ?? split) === split : ids.has(key)) ? [labelOfProblem(key, value, at)] : [],
      ),
    );
  if (labels.length === 0)
    throw new UsageError(
      `${files.map((file) => file.path).join(', ')}: expected problems.json with problems of split ${JSON.stringify(split)}, got none`,
    );
  return labels;
}

function labelOfProblem(id: string, problem: JsonObject, at: Place): ScienceLabel {
  const { choices, answer, image, hint, subject, grade } = problem;
  if (!Array.isArray(choices))
    throw new RecordError(at, `${id}.choices`, 'an array of strings', describeValue(choices));
  if (typeof answer !== 'number' || choices[answer] === undefined)
    throw new RecordError(at, `${id}.answer`, 'the index of a choice', describeValue(answer));
  return {
    id,
    split: '',
    cluster: typeof image === 'string' && image !== '' ? `image ${id}` : id,
    at,
    choices: choices.map(String),
    answer,
    hasImage: typeof image === 'string' && image !== '',
    hasHint: typeof hint === 'string' && hint !== '',
    subject: String(subject ?? ''),
    grade: Number(/\d+/.exec(String(grade ?? ''))?.[0] ?? 0),
  };
}

function recordLabel({ record, id, at }: OwnLabel): ScienceLabel | undefined {
  const { reference, choices, images, meta } = record;
  if (typeof reference !== 'string' || choices === undefined) return undefined;
  const { hint, subject, grade } = meta ?? {};
  return labelOfProblem(
    id,
    { choices, answer: OPTIONS.indexOf(reference), image: images?.[0], hint, subject, grade },
    at,
  );
}
