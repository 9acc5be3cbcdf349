// SPDX-License-Identifier: Apache-2.0
// GQA: exact match, and all figures of the official script. Source: GQA's eval.py, LLaVA's convert_gqa_for_eval.py.

import { pythonSplit } from '../../python/text.ts';
import { RecordError, UsageError } from '../../records/error.ts';
import { describeValue, isObject, type Place } from '../../records/field.ts';
import { type Answer, type Label, readAnswers } from '../scoring/answers.ts';
import { type EvalFile, type JsonObject, objectEntries } from '../scoring/file.ts';
import { countStates, type Joined } from '../scoring/join.ts';
import { accuracy, finite, groupBy } from '../scoring/score-row.ts';
import { benchmarkScorer, failedAnswers } from '../scoring/scorer.ts';
import { strictShortAnswer } from '../scoring/short-answer.ts';
import { meanOf } from '../scoring/statistics.ts';

interface GqaLabel extends Label {
  answer: string;
  structural: string;
  semantic: string;
  isCommon: boolean;
  steps: number;
  words: number;
  /** Figures use balanced questions; others count for consistency only. */
  isBalanced: boolean;
  /** Group of questions whose answer distributions are compared. */
  group: string | undefined;
  entailed: string[];
  /** Valid and plausible answers, from a choices file. */
  choices?: { valid: string[]; plausible: string[] } | undefined;
}

/** LLaVA's conversion: removes trailing full stops, converts to lower case. */
export function parseGqaOfficial(text: string): string {
  return text.replace(/\.+$/, '').toLowerCase();
}

interface GqaQuestion extends Joined<GqaLabel> {
  /** Undefined: not scored. */
  said: string | undefined;
  correct: boolean;
}

/** Scores short answers against the questions file; a choices file among the labels adds validity and plausibility. */
export const scoreGqa = benchmarkScorer<GqaLabel, Answer, GqaQuestion>({
  benchmark: 'gqa',
  read: ({ answers, labels, options }) => ({ answers: readAnswers(answers, options), labels: readLabels(labels) }),
  asked(labels, answers) {
    const answered = new Set(answers.map((answer) => answer.id));
    return labels.filter((label) => label.isBalanced || answered.has(label.id));
  },
  mark: (joined, { options }) =>
    joined.map((question): GqaQuestion => {
      const said = predicted(question, options.parse);
      return { ...question, said, correct: said === truth(question.label, options.parse) };
    }),
  parts(questions, labels) {
    const part = (split: string, isIn: (label: GqaLabel) => boolean) =>
      [split, questions.filter(({ label }) => label.isBalanced && isIn(label))] as const;
    return [
      part('binary', (label) => label.structural !== 'query'),
      part('open', (label) => label.structural === 'query'),
      ...sortedValues(labels, 'structural').map((type) =>
        part(`structural/${type}`, (label) => label.structural === type),
      ),
      ...sortedValues(labels, 'semantic').map((type) => part(`semantic/${type}`, (label) => label.semantic === type)),
      ...sortedValues(labels, 'steps').map((steps) => part(`steps/${steps}`, (label) => label.steps === steps)),
      ...sortedValues(labels, 'words').map((words) => part(`words/${words}`, (label) => label.words === words)),
    ];
  },
  figures(part, { split }) {
    const balanced = part.filter(({ label }) => label.isBalanced);
    const marks = balanced.filter(isScored);
    const { ci95, clusters, unparsed, ...counts } = accuracy(
      marks.map(({ label, correct, said }) => ({ cluster: label.cluster, correct, unparsed: said === '' })),
    );
    const figures = split === 'all' ? wholeFigures(marks, part.filter(isScored)) : {};
    return { ...counts, ...figures, ci95, clusters, unparsed, ...countStates(balanced) };
  },
  failed: failedAnswers,
  items: (questions) =>
    questions
      .filter((question) => question.label.isBalanced && isScored(question))
      .map(({ label, correct }) => ({
        split: label.structural,
        id: label.id,
        cluster: label.cluster,
        value: +correct,
      })),
});

function isScored(question: GqaQuestion): question is ScoredQuestion {
  return question.said !== undefined;
}

// The official script stops at a missing prediction; with --allow-missing both modes skip it.
function predicted({ answer }: Joined<GqaLabel>, parse: 'official' | 'strict'): string | undefined {
  if (answer === undefined || answer.failed !== undefined) return undefined;
  if (parse === 'strict') return strictShortAnswer(answer.text);
  return isPrediction(answer) ? answer.text : parseGqaOfficial(answer.text);
}

/** A row of the official predictions file is already converted. */
function isPrediction(answer: Answer): boolean {
  return 'questionId' in answer.row && 'prediction' in answer.row;
}

function truth(label: GqaLabel, parse: 'official' | 'strict'): string {
  return parse === 'strict' ? strictShortAnswer(label.answer) : label.answer;
}

type ScoredQuestion = GqaQuestion & { said: string };

function wholeFigures(marks: ScoredQuestion[], allMarks: ScoredQuestion[]) {
  const byId = new Map(allMarks.map((mark) => [mark.label.id, mark]));
  const consistency = marks.flatMap(({ label, correct }) => {
    const entailed = label.entailed.filter((id) => id !== label.id).flatMap((id) => byId.get(id) ?? []);
    return correct && entailed.length > 0 ? [meanOf(entailed.map((mark) => +mark.correct))] : [];
  });
  const share = (kind: 'valid' | 'plausible') =>
    finite(100 * meanOf(marks.map(({ label, said }) => +belongs(said, label.choices?.[kind] ?? [], label))));
  return {
    distribution: distribution(marks),
    ...(consistency.length > 0 && { consistency: 100 * meanOf(consistency) }),
    ...(marks.some(({ label }) => label.choices !== undefined) && {
      validity: share('valid'),
      plausibility: share('plausible'),
    }),
  };
}

// Questions about common attributes have three accepted answers.
function belongs(said: string, group: string[], label: GqaLabel): boolean {
  return (label.isCommon ? ['color', 'material', 'shape'] : group).includes(said);
}

/** Chi-square of predicted against true answers within each group, weighted by its size; lower is better. */
function distribution(marks: ScoredQuestion[]): number | null {
  let sum = 0;
  let questions = 0;
  const grouped = marks.filter(({ label }) => label.group !== undefined);
  for (const group of groupBy(grouped, ({ label }) => label.group).values()) {
    const said = new Map<string, number>();
    for (const mark of group) said.set(mark.said, (said.get(mark.said) ?? 0) + 1);
    let score = 0;
    for (const [answer, ofAnswer] of groupBy(group, ({ label }) => label.answer)) {
      const expected = ofAnswer.length;
      score += ((said.get(answer) ?? 0) - expected) ** 2 / expected;
    }
    sum += score * group.length;
    questions += group.length;
  }
  return finite(sum / questions / 100);
}

function sortedValues<K extends 'structural' | 'semantic' | 'steps' | 'words'>(
  labels: GqaLabel[],
  key: K,
): GqaLabel[K][] {
  const values = [...new Set(labels.map((label) => label[key]))];
  return values.sort((a, b) => (a < b ? -1 : a > b ? 1 : 0));
}

function readLabels(files: readonly EvalFile[]): GqaLabel[] {
  if (files.length === 0)
    throw new UsageError('gqa: expected --labels FILE, the questions file (testdev_balanced_questions.json)');
  const labels: GqaLabel[] = [];
  const choices = new Map<string, GqaLabel['choices']>();
  for (const file of files)
    for (const { key, value, at } of objectEntries(file, 'a question, an object')) {
      const { valid, plausible } = value;
      if (Array.isArray(valid) && Array.isArray(plausible)) choices.set(key, { valid, plausible });
      else labels.push(labelOf(key, value, at));
    }
  return labels.map((label) => ({ ...label, choices: choices.get(label.id) }));
}

const NO_STEP = ['exist', 'query: name', 'choose name'];

function labelOf(id: string, question: JsonObject, at: Place): GqaLabel {
  const { answer, imageId, types, semantic, groups, entailed, question: text } = question;
  if (typeof answer !== 'string') throw new RecordError(at, `${id}.answer`, 'a string', describeValue(answer));
  const { structural = '', semantic: kind = '', detailed = '' } = isObject(types) ? types : {};
  const steps = Array.isArray(semantic) ? semantic : [];
  const global = isObject(groups) ? groups.global : undefined;
  return {
    id,
    split: '',
    cluster: String(imageId ?? id),
    at,
    answer,
    structural: String(structural),
    semantic: String(kind),
    isBalanced: question.isBalanced !== false,
    isCommon: String(detailed).includes('Common'),
    steps: steps.filter(
      ({ operation, argument }) => !NO_STEP.some((name) => `${operation}: ${argument}`.includes(name)),
    ).length,
    words: pythonSplit(String(text ?? '')).length,
    group: typeof global === 'string' ? global : undefined,
    entailed: Array.isArray(entailed) ? entailed.map(String) : [],
  };
}
