// SPDX-License-Identifier: Apache-2.0
// HallusionBench: right questions (aAcc), figures with every question right (fAcc), question pairs right about every
// figure (qAcc). Scored by a judge, as in the official evaluation.py and utils.py, or by the words yes and no, as in VLMEvalKit yorn.py.

import { pythonSplit } from '../../python/text.ts';
import { RecordError } from '../../records/error.ts';
import { describeValue, type Place } from '../../records/field.ts';
import { type Answer, isRecord, labelsOfRecords, readAnswers } from '../scoring/answers.ts';
import type { EvalFile, FileRow } from '../scoring/file.ts';
import { countStates, type Joined, withoutUnasked } from '../scoring/join.ts';
import { holdGuide, readJudged, scoreOf } from '../scoring/judged.ts';
import { accuracy, type EvalOptions, finite, groupBy } from '../scoring/score-row.ts';
import { benchmarkScorer, failedAnswers } from '../scoring/scorer.ts';
import { meanOf } from '../scoring/statistics.ts';
import { strictYesNo } from '../scoring/yes-no.ts';
import { type FigureLabel, figureLabel, idOfIndex, labelOfId } from './label.ts';

type Outcome = 'correct' | 'wrong' | 'unclear';

interface FigureAnswer extends Answer {
  /** A judge's outcome; undefined: the answer's words decide. */
  judged?: Outcome | undefined;
}

interface FigureQuestion extends Joined<FigureLabel, FigureAnswer> {
  /** Undefined: not scored. */
  outcome: Outcome | undefined;
  isRight: boolean;
}

// VQA's punctuation clean-up: a mark that occurs beside a blank is deleted everywhere; other marks become blanks.
const MARKS = [...';/[]"{}()=+\\_-><@`,?!'];

/** VLMEvalKit's parser: exactly one of the words yes and no. A mark that it does not clean ("Yes:") hides the word. */
export function parseYesNoOfficial(text: string): 'yes' | 'no' | undefined {
  const lower = text.toLowerCase();
  let clean = lower;
  for (const mark of MARKS) {
    const isApart = lower.includes(`${mark} `) || lower.includes(` ${mark}`) || /\p{Nd},\p{Nd}/u.test(lower);
    clean = clean.replaceAll(mark, isApart ? '' : ' ');
  }
  // The script passes re's flag as the count argument, so only the first 32 full stops are removed.
  let stops = 0;
  clean = clean.replace(/\.(?!\p{Nd})/gu, (stop) => (++stops > 32 ? stop : ''));
  const words = pythonSplit(clean);
  const [yes, no] = [words.includes('yes'), words.includes('no')];
  return yes === no ? undefined : yes ? 'yes' : 'no';
}

export const scoreHallusionBench = benchmarkScorer<FigureLabel, FigureAnswer, FigureQuestion>({
  benchmark: 'hallusionbench',
  read({ answers: files, labels: labelFiles, options }, notes) {
    const answers = readFigureAnswers(files, options);
    const labels = labelFiles.length > 0 ? fileLabels(labelFiles) : ownLabels(files);
    // A model that requires an image skips questions without one.
    const kindOf = ({ mayBeUnclear }: FigureLabel) => (mayBeUnclear ? 'imageless' : 'other');
    return { answers, labels: withoutUnasked(labels, answers, kindOf, notes) };
  },
  mark: (joined, { options }) => joined.map((question) => markQuestion(question, options.parse)),
  parts: (questions) => [
    ...groupBy(questions, ({ label }) => label.category),
    ...groupBy(questions, ({ label }) => label.subcategory),
  ],
  figures(part) {
    const scored = part.filter(({ outcome }) => outcome !== undefined);
    const marks = scored.map(({ label, isRight, outcome }) => ({
      cluster: label.cluster,
      correct: isRight,
      unparsed: outcome === 'unclear',
    }));
    const { ci95, clusters, unparsed, n, score, correct } = accuracy(marks);
    const figures = shares(part, ({ label }) => label.figure);
    return {
      n,
      score,
      correct,
      a_acc: score,
      f_acc: wholeShare(figures),
      q_acc: wholeShare(shares(part, ({ label }) => label.pair)),
      // These are pairs too, despite their name in the official table.
      easy_a_acc: wholeShare(shares(part, ({ label }) => (label.isHard ? undefined : label.pair))),
      hard_a_acc: wholeShare(shares(part, ({ label }) => (label.isHard ? label.pair : undefined))),
      consistency_inconsistent: finite(100 * meanOf(figures.map((share) => +(share > 0 && share < 1)))),
      consistency_wrong: finite(100 * meanOf(figures.map((share) => +(share === 0)))),
      ...yesBias(scored),
      ci95,
      clusters,
      unparsed,
      ...countStates(part),
    };
  },
  failed: failedAnswers,
  items: (questions) =>
    questions.flatMap(({ label, outcome, isRight }) => {
      if (outcome === undefined) return [];
      return [{ split: label.category, id: label.id, cluster: label.cluster, value: +isRight }];
    }),
});

function markQuestion(question: Joined<FigureLabel, FigureAnswer>, parse: 'official' | 'strict'): FigureQuestion {
  const { label, answer } = question;
  if (answer === undefined || answer.failed !== undefined) return { ...question, outcome: undefined, isRight: false };
  const outcome = answer.judged ?? outcomeOf(answer, label, parse);
  return { ...question, outcome, isRight: outcome === 'correct' || (outcome === 'unclear' && label.mayBeUnclear) };
}

function outcomeOf(answer: Answer, label: FigureLabel, parse: 'official' | 'strict'): Outcome {
  if (label.isYes === undefined)
    throw new RecordError(label.at, 'gt_answer', '0 or 1, for answers that no judge has read', 'nothing');
  const said = parse === 'official' ? parseYesNoOfficial(answer.text) : strictYesNo(answer.text);
  return said === undefined ? 'unclear' : (said === 'yes') === label.isYes ? 'correct' : 'wrong';
}

/** Share of groups whose questions are all right; questions without a key belong to no group. */
function shares(part: readonly FigureQuestion[], keyOf: (question: FigureQuestion) => string | undefined): number[] {
  const keyed = part.filter((question) => keyOf(question) !== undefined);
  return [...groupBy(keyed, keyOf).values()]
    .filter((group) => group.every(({ outcome }) => outcome !== undefined))
    .map((group) => meanOf(group.map(({ isRight }) => +isRight)));
}

function wholeShare(groups: readonly number[]): number | null {
  return finite(100 * meanOf(groups.map((share) => +(share === 1))));
}

/** The over-representation of yes, and the share of no among the missed truths. */
function yesBias(scored: readonly FigureQuestion[]): { yes_diff?: number | null; yes_fp?: number | null } {
  if (scored.some(({ label }) => label.isYes === undefined)) return {};
  // As in the script, an unclear wrong answer counts as the opposite word.
  const saidYes = scored.map(({ label, isRight }) => +(isRight === label.isYes));
  const truths = scored.map(({ label }) => +label.isYes!);
  const missed = scored.filter(({ isRight }) => !isRight).map(({ label }) => +!label.isYes);
  return { yes_diff: finite(meanOf(saidYes) - meanOf(truths)), yes_fp: finite(meanOf(missed)) };
}

const JUDGED = 'gpt4v_output_gpt_check';
const OUTCOMES: Readonly<Record<string, Outcome>> = { '0': 'wrong', '1': 'correct', '2': 'unclear' };

function outcomeOfCode(code: unknown, at: Place, field: string): Outcome {
  const outcome = OUTCOMES[String(code)];
  if (outcome !== undefined) return outcome;
  throw new RecordError(at, field, '0 (incorrect), 1 (correct) or 2 (unclear)', describeValue(code));
}

function readFigureAnswers(files: readonly EvalFile[], options: EvalOptions): FigureAnswer[] {
  if (holdGuide(files, 'hallusionbench'))
    return readJudged(files, 'hallusionbench', options).map((judged) => ({
      ...{ id: judged.id, at: judged.at, model: judged.model, run: judged.run, text: '', row: {} },
      ...(judged.failed === undefined
        ? { judged: outcomeOfCode(scoreOf(judged, 'correctness'), judged.at, 'annotations[].scores.correctness') }
        : { failed: judged.failed }),
    }));
  return files.flatMap((file): FigureAnswer[] =>
    file.rows.some(isOfficialRow)
      ? file.rows.map(officialAnswer)
      : readAnswers([file], options).map((answer) => ({ ...answer, id: idOfIndex(answer.id) })),
  );
}

function isOfficialRow({ value }: FileRow): boolean {
  return 'set_id' in value && !isRecord(value);
}

/** A row of the official result file: the question with model_prediction, and a judge's outcome after evaluation. */
function officialAnswer({ value, at }: FileRow): FigureAnswer {
  const { model_prediction: text } = value;
  const { id } = figureLabel(value, at);
  if (typeof text !== 'string') throw new RecordError(at, 'model_prediction', 'a string', describeValue(text));
  const code = value[JUDGED];
  const judged = code === undefined ? undefined : outcomeOfCode(code, at, JUDGED);
  return { id, at, model: '', text, row: value, judged };
}

function fileLabels(files: readonly EvalFile[]): FigureLabel[] {
  return files.flatMap((file) => file.rows.map(({ value, at }) => figureLabel(value, at)));
}

/** Labels from the answers' rows. */
function ownLabels(files: readonly EvalFile[]): FigureLabel[] {
  return files.flatMap((file) =>
    file.rows.some(isOfficialRow)
      ? fileLabels([file])
      : labelsOfRecords([file], '--labels HallusionBench.json, or records of import hallusionbench', (own) =>
          labelOfId(own.id, {
            at: own.at,
            isHard: own.record.meta?.visual_input === '2',
            isYes: isYesOf(own.record.reference),
          }),
        ),
  );
}

function isYesOf(reference: unknown): boolean | undefined {
  return reference === 'yes' ? true : reference === 'no' ? false : undefined;
}
