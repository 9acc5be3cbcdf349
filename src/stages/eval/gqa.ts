// SPDX-License-Identifier: Apache-2.0
// GQA: exact match, and every line the official script prints. Source: GQA's eval.py, LLaVA's convert_gqa_for_eval.py.
import { RecordError, UsageError } from '../../records/error.ts';
import { describeValue, isObject, type Place } from '../../records/field.ts';
import {
  type Answer,
  answersByModel,
  countStates,
  type Joined,
  joinAnswers,
  type Label,
  modelField,
  readAnswers,
} from './answers.ts';
import { type EvalFile, type JsonObject, objectEntries } from './file.ts';
import { pythonSplit } from './python.ts';
import { accuracy, type EvalInput, type Evaluation, finite, groupBy, labelHashes } from './score-row.ts';
import { meanOf } from './statistics.ts';

interface GqaLabel extends Label {
  answer: string;
  structural: string;
  semantic: string;
  isCommon: boolean;
  steps: number;
  words: number;
  /** The figures are of the balanced questions; the others stand in for consistency alone. */
  isBalanced: boolean;
  /** Group of questions whose answer distributions are compared. */
  group: string | undefined;
  entailed: string[];
}

type Choices = Map<string, { valid: string[]; plausible: string[] }>;

/** LLaVA's conversion: trailing full stops off, lower case, nothing else. */
export function parseGqaOfficial(text: string): string {
  return text.replace(/\.+$/, '').toLowerCase();
}

/** The same without outer blanks and closing marks, inner blanks as one, and without a leading article. */
export function parseGqaStrict(text: string): string {
  return text
    .toLowerCase()
    .replace(/\s+/gu, ' ')
    .replace(/^[\s"']+|[\s.!,;"']+$/gu, '')
    .replace(/^(?:a|an|the) (?=\S)/, '');
}

/** Scores short answers against the questions file; a choices file among the labels adds validity and plausibility. */
export function scoreGqa({ answers: files, labels: labelFiles, options }: EvalInput): Evaluation {
  const notes: string[] = [];
  const answers = readAnswers(files, options);
  const { labels: all, choices } = readLabels(labelFiles);
  const evaluation: Evaluation = { rows: [], items: [], notes, failed: 0 };
  for (const [model, ofModel] of answersByModel(answers)) {
    const answered = new Set(ofModel.map((answer) => answer.id));
    const labels = all.filter((label) => label.isBalanced || answered.has(label.id));
    const joined = joinAnswers(labels, ofModel, options, notes);
    const allMarks = joined.flatMap((question) => {
      const said = predicted(question, options.parse);
      return said === undefined ? [] : [{ ...question, said, correct: said === truth(question.label, options.parse) }];
    });
    const marks = allMarks.filter(({ label }) => label.isBalanced);
    const balanced = joined.filter(({ label }) => label.isBalanced);
    const addRow = (split: string, isIn: (label: GqaLabel) => boolean, figures: object = {}) => {
      const part = marks.filter(({ label }) => isIn(label));
      if (part.length === 0 && split !== 'all') return;
      const marked = part.map(({ label, correct, said }) => ({
        cluster: label.cluster,
        correct,
        unparsed: said === '',
      }));
      const { ci95, clusters, unparsed, ...counts } = accuracy(marked);
      evaluation.rows.push({
        benchmark: 'gqa',
        split,
        ...modelField(model),
        ...counts,
        ...figures,
        ci95,
        clusters,
        unparsed,
        ...countStates(balanced.filter(({ label }) => isIn(label))),
        ...labelHashes(labelFiles),
        parse: options.parse,
      });
    };
    addRow('binary', (label) => label.structural !== 'query');
    addRow('open', (label) => label.structural === 'query');
    for (const type of sortedValues(labels, 'structural'))
      addRow(`structural/${type}`, (label) => label.structural === type);
    for (const type of sortedValues(labels, 'semantic')) addRow(`semantic/${type}`, (label) => label.semantic === type);
    for (const steps of sortedValues(labels, 'steps')) addRow(`steps/${steps}`, (label) => label.steps === steps);
    for (const words of sortedValues(labels, 'words')) addRow(`words/${words}`, (label) => label.words === words);
    addRow('all', () => true, { ...wholeFigures(marks, allMarks, choices) });
    evaluation.failed += countStates(joined).failed;
    for (const { label, correct } of marks)
      evaluation.items.push({ model, split: label.structural, id: label.id, cluster: label.cluster, value: +correct });
  }
  return evaluation;
}

// The official script stops at a missing prediction; with --allow-missing it is left out in both modes.
function predicted({ answer }: Joined<GqaLabel>, parse: 'official' | 'strict'): string | undefined {
  if (answer === undefined || answer.failed !== undefined) return undefined;
  if (parse === 'strict') return parseGqaStrict(answer.text);
  return isPrediction(answer) ? answer.text : parseGqaOfficial(answer.text);
}

/** A row of the official predictions file has been converted before. */
function isPrediction(answer: Answer): boolean {
  return 'questionId' in answer.row && 'prediction' in answer.row;
}

function truth(label: GqaLabel, parse: 'official' | 'strict'): string {
  return parse === 'strict' ? parseGqaStrict(label.answer) : label.answer;
}

type MarkedQuestion = Joined<GqaLabel> & { said: string; correct: boolean };

function wholeFigures(marks: MarkedQuestion[], allMarks: MarkedQuestion[], choices: Choices | undefined) {
  const byId = new Map(allMarks.map((mark) => [mark.label.id, mark]));
  const consistency = marks.flatMap(({ label, correct }) => {
    const entailed = label.entailed.filter((id) => id !== label.id).flatMap((id) => byId.get(id) ?? []);
    return correct && entailed.length > 0 ? [meanOf(entailed.map((mark) => +mark.correct))] : [];
  });
  const share = (kind: 'valid' | 'plausible') =>
    finite(100 * meanOf(marks.map(({ label, said }) => +belongs(said, choices?.get(label.id)?.[kind] ?? [], label))));
  return {
    distribution: distribution(marks),
    ...(consistency.length > 0 && { consistency: 100 * meanOf(consistency) }),
    ...(choices !== undefined && { validity: share('valid'), plausibility: share('plausible') }),
  };
}

// Questions about what things have in common have their own three right answers.
function belongs(said: string, group: string[], label: GqaLabel): boolean {
  return (label.isCommon ? ['color', 'material', 'shape'] : group).includes(said);
}

/** Chi-square of predicted against true answers within each group, weighted by its size; lower is better. */
function distribution(marks: MarkedQuestion[]): number | null {
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

function readLabels(files: readonly EvalFile[]): { labels: GqaLabel[]; choices: Choices | undefined } {
  if (files.length === 0)
    throw new UsageError('gqa: expected --labels FILE, the questions file (testdev_balanced_questions.json)');
  const labels: GqaLabel[] = [];
  let choices: Choices | undefined;
  for (const file of files)
    for (const { key, value, at } of objectEntries(file, 'a question, an object')) {
      if (Array.isArray(value.valid) && Array.isArray(value.plausible)) {
        choices ??= new Map();
        choices.set(key, { valid: value.valid, plausible: value.plausible });
      } else labels.push(labelOf(key, value, at));
    }
  return { labels, choices };
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
