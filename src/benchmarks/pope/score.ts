// SPDX-License-Identifier: Apache-2.0
// POPE: yes-no questions about the presence of an object. Source: AoiDragon/POPE evaluate.py, LLaVA's eval_pope.py.

import { RecordError, UsageError } from '../../records/error.ts';
import { describeValue, type Place } from '../../records/field.ts';
import {
  type Answer,
  isRecord,
  type Label,
  labelsOfRecords,
  type OwnLabel,
  place,
  readAnswers,
  rowId,
} from '../scoring/answers.ts';
import type { EvalFile } from '../scoring/file.ts';
import { countStates, type Joined } from '../scoring/join.ts';
import { type EvalInput, finite, groupBy } from '../scoring/score-row.ts';
import { benchmarkScorer, failedAnswers } from '../scoring/scorer.ts';
import { type Contribution, clusteredInterval } from '../scoring/statistics.ts';
import { strictYesNo } from '../scoring/yes-no.ts';

const POPE_SPLITS = ['random', 'popular', 'adversarial'];

export interface PopeLabel extends Label {
  isYes: boolean;
  text: string;
  file?: EvalFile;
}

/** The official parser: "no" if a token of the first sentence is No, not or no; else "yes". */
export function parsePopeOfficial(text: string): 'yes' | 'no' {
  const [sentence = ''] = text.split('.', 1);
  const words = sentence.replaceAll(',', '').split(' ');
  return words.includes('No') || words.includes('not') || words.includes('no') ? 'no' : 'yes';
}

/** Neither yes nor no in the whole answer: the official parser counts it as yes. */
function saysNeither(text: string): boolean {
  return !/\b(?:yes|no|not)\b|n['\u2019]t\b/i.test(text);
}

interface Counts {
  tp: number;
  fp: number;
  tn: number;
  fn: number;
}

/** The official script's figures, as fractions; null if it would divide by zero. */
export function popeFigures({ tp, fp, tn, fn }: Counts) {
  const precision = finite(tp / (tp + fp));
  const recall = finite(tp / (tp + fn));
  const f1 =
    precision !== null && recall !== null && tp > 0
      ? (2 * precision * recall) / (precision + recall)
      : finite((2 * tp) / (2 * tp + fp + fn));
  const n = tp + fp + tn + fn;
  return { accuracy: finite((tp + tn) / n), precision, recall, f1, yes_ratio: finite((tp + fp) / n) };
}

/** Scores yes/no answers; answers without ids are paired with the labels by position, text checked. */
export const scorePope = benchmarkScorer<PopeLabel, Answer, PopeQuestion>({
  benchmark: 'pope',
  read({ answers: files, labels: labelFiles, questions, options }) {
    const labels =
      labelFiles.length > 0
        ? readPopeLabels(labelFiles)
        : labelsOfRecords(files, '--labels FILE..., or records that carry "reference": yes or no', recordLabel);
    return { labels, answers: placeAnswers(files, labels, questions, options) };
  },
  mark(joined, { options }, notes) {
    checkQuestions(joined, notes);
    const questions = joined.map((question) => markQuestion(question, options.parse));
    for (const [split, part] of groupBy(questions, ({ label }) => label.split)) noteUndefined(split, part, notes);
    return questions;
  },
  parts: (questions) => groupBy(questions, ({ label }) => label.split),
  figures: rowFigures,
  labelFiles: (part) => [...new Set(part.flatMap(({ label }) => label.file ?? []))],
  failed: failedAnswers,
  items: (questions) =>
    questions.flatMap(({ label, cell }) => {
      if (cell === undefined) return [];
      const value = +(cell === 'tp' || cell === 'tn');
      return [{ split: label.split, id: label.id, cluster: label.cluster, value }];
    }),
});

/**
 * The three label files share ids and yes-no pattern, so only the questions reveal a wrong file. If some questions agree,
 * all must; if none does, the questions were reworded, which gives a note.
 */
function checkQuestions(joined: readonly Joined<PopeLabel>[], notes: string[]): void {
  const asked = joined.flatMap(({ label, answer }) => {
    const field = typeof answer?.row.prompt === 'string' ? 'prompt' : 'question';
    const text = answer?.row[field];
    if (answer === undefined || typeof text !== 'string' || label.text === '') return [];
    return [{ label, at: answer.at, field, text, agrees: corrected(text).includes(corrected(label.text)) }];
  });
  const other = asked.find((question) => !question.agrees);
  if (other === undefined) return;
  const { label, at, field, text } = other;
  if (field === 'question' || asked.some((question) => question.agrees))
    throw new RecordError(at, field, `${JSON.stringify(label.text)} (${place(label.at)})`, describeValue(text));
  notes.push(
    `no prompt contains the text of its label (${place(at)}, ${place(label.at)}): cannot check that they belong together`,
  );
}

// Early versions of two label files say "imange".
function corrected(text: string): string {
  return text.replace('imange', 'image').trim();
}

const CELLS = ['tp', 'fp', 'tn', 'fn'] as const;

interface PopeQuestion extends Joined<PopeLabel> {
  /** Undefined: not scored. */
  cell: keyof Counts | undefined;
  unparsed: boolean;
}

function markQuestion({ label, answer }: Joined<PopeLabel>, parse: 'official' | 'strict'): PopeQuestion {
  if (answer === undefined || answer.failed !== undefined) return { label, answer, cell: undefined, unparsed: false };
  const read = parse === 'official' ? parsePopeOfficial(answer.text) : strictYesNo(answer.text);
  // An unclear answer is wrong, so avoiding an answer never pays.
  const isYes = read === undefined ? !label.isYes : read === 'yes';
  const cell = isYes ? (label.isYes ? 'tp' : 'fp') : label.isYes ? 'fn' : 'tn';
  return { label, answer, cell, unparsed: read === undefined || (parse === 'official' && saysNeither(answer.text)) };
}

function countCells(part: readonly PopeQuestion[]): Counts {
  const counts: Counts = { tp: 0, fp: 0, tn: 0, fn: 0 };
  for (const { cell } of part) if (cell !== undefined) counts[cell] += 1;
  return counts;
}

function noteUndefined(split: string, part: readonly PopeQuestion[], notes: string[]): void {
  const { tp, fp, fn } = countCells(part);
  if (tp + fp === 0 || tp + fn === 0)
    notes.push(
      `${split}: no ${tp + fp === 0 ? 'answer is' : 'label is'} yes: the official script stops here with a division by zero`,
    );
}

// One split, or all: the figures of all are means over the splits, as in the papers' tables.
function rowFigures(part: PopeQuestion[]) {
  const splits = [...groupBy(part, ({ label }) => label.split).values()];
  const counts = splits.map(countCells);
  const figures = counts.map(popeFigures);
  const mean = (name: keyof (typeof figures)[number]) =>
    finite(figures.reduce((sum, figure) => sum + (figure[name] ?? Number.NaN), 0) / figures.length);
  const f1 = mean('f1');
  const wide = splits.flatMap((questions, k) =>
    questions.flatMap(({ label, cell }): Contribution[] => {
      if (cell === undefined) return [];
      const sums = counts.flatMap((_, other) => CELLS.map((name) => +(k === other && name === cell)));
      return [{ cluster: label.cluster, sums }];
    }),
  );
  const meanF1 = (sums: readonly number[]) => {
    let sum = 0;
    for (let k = 0; k < counts.length; k++) {
      const [tp, fp, , fn] = sums.slice(4 * k, 4 * k + 4) as [number, number, number, number];
      sum += (2 * tp) / (2 * tp + fp + fn);
    }
    return (100 * sum) / counts.length;
  };
  return {
    n: wide.length,
    score: f1 === null ? null : 100 * f1,
    accuracy: mean('accuracy'),
    precision: mean('precision'),
    recall: mean('recall'),
    f1,
    yes_ratio: mean('yes_ratio'),
    ...(counts.length === 1 ? counts[0] : { pooled_f1: popeFigures(addCounts(counts)).f1 }),
    ...clusteredInterval(wide, meanF1, [0, 100]),
    unparsed: part.filter((question) => question.unparsed).length,
    ...countStates(part),
  };
}

function addCounts(counts: Counts[]): Counts {
  const total: Counts = { tp: 0, fp: 0, tn: 0, fn: 0 };
  for (const count of counts) for (const cell of CELLS) total[cell] += count[cell];
  return total;
}

/** "coco_pope_random" -> "random"; any other name is a separate split. */
export function popeSplitOf(stem: string): string {
  return POPE_SPLITS.find((split) => stem.toLowerCase().includes(split)) ?? stem;
}

/** The rows of label files, one split per file. */
function readPopeLabels(files: readonly EvalFile[]): PopeLabel[] {
  return files.flatMap((file) =>
    file.rows.map(({ value, at }) => {
      if (value.label !== 'yes' && value.label !== 'no')
        throw new RecordError(at, 'label', '"yes" or "no"', describeValue(value.label));
      const split = POPE_SPLITS.includes(value.category as string)
        ? (value.category as string)
        : popeSplitOf(file.stem);
      return { id: rowId(value, at), split, ...popeQuestion(value, at), isYes: value.label === 'yes', at, file };
    }),
  );
}

function popeQuestion(value: Record<string, unknown>, at: Place): { cluster: string; text: string } {
  if (typeof value.image !== 'string') throw new RecordError(at, 'image', 'a file name', describeValue(value.image));
  return { cluster: value.image, text: typeof value.text === 'string' ? value.text : '' };
}

function recordLabel({ record: { reference, meta }, id, cluster, at }: OwnLabel): PopeLabel | undefined {
  if (reference !== 'yes' && reference !== 'no') return undefined;
  const split = typeof meta?.split === 'string' ? meta.split : 'all';
  return { id, split, cluster, at, isYes: reference === 'yes', text: '' };
}

/** Answers with the split and id of their labels. */
function placeAnswers(
  files: readonly EvalFile[],
  labels: PopeLabel[],
  questionFiles: readonly EvalFile[],
  options: EvalInput['options'],
): Answer[] {
  if (questionFiles.length > 0) return placeByQuestions(readAnswers(files, options), labels, questionFiles);
  return files.flatMap((file) => {
    const hasIds = file.rows.some(({ value }) => isRecord(value) || 'question_id' in value);
    const split = popeSplitOf(file.stem);
    const ofFile = hasIds ? file : withPositions(file, labels, split);
    return readAnswers([ofFile], options).map((answer) => {
      const said = answer.split ?? (POPE_SPLITS.includes(split) ? split : undefined);
      if (said === undefined) return answer;
      const known = popeSplitOf(said);
      return { ...answer, split: POPE_SPLITS.includes(known) ? known : said };
    });
  });
}

/** The official answer files have no ids: the k-th answer belongs to the k-th label, and its question must be equal. */
function withPositions(file: EvalFile, labels: PopeLabel[], split: string): EvalFile {
  const splits = [...new Set(labels.map((label) => label.split))];
  const ofSplit = labels.filter((label) => label.split === (splits.length === 1 ? splits[0] : split));
  if (ofSplit.length !== file.rows.length)
    throw new UsageError(
      `${file.path}: expected ids (question_id), or as many rows as labels of ${split}: ${ofSplit.length}, got ${file.rows.length}`,
    );
  const rows = file.rows.map(({ value, at }, index) => {
    const label = ofSplit[index]!;
    return { value: { ...value, question_id: label.id }, at };
  });
  return { ...file, rows };
}

/**
 * LLaVA's question file gives each answer its category. Its ids differ from those of the labels, so the k-th question of a
 * category belongs to the k-th label, and the images must agree.
 */
function placeByQuestions(answers: Answer[], labels: PopeLabel[], files: readonly EvalFile[]): Answer[] {
  const labelOf = new Map<string, PopeLabel>();
  const rows = files.flatMap((file) => file.rows);
  for (const [category, group] of groupBy(rows, ({ value }) => value.category)) {
    const split = typeof category === 'string' ? popeSplitOf(category) : '';
    const ofSplit = labels.filter((label) => label.split === split);
    if (ofSplit.length === 0) continue;
    if (ofSplit.length !== group.length)
      throw new UsageError(
        `${group[0]!.at.source}: expected as many questions of ${split} as there are labels: ${ofSplit.length}, got ${group.length}`,
      );
    for (const [index, { value, at }] of group.entries()) {
      const label = ofSplit[index]!;
      if (value.image !== label.cluster)
        throw new RecordError(
          at,
          'image',
          `${JSON.stringify(label.cluster)} (${place(label.at)})`,
          describeValue(value.image),
        );
      labelOf.set(rowId(value, at), label);
    }
  }
  return answers.map((answer) => {
    const label = labelOf.get(answer.id);
    return label === undefined ? answer : { ...answer, id: label.id, split: label.split };
  });
}
