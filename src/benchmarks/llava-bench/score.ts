// SPDX-License-Identifier: Apache-2.0
// LLaVA-Bench (in the wild): the judge's score of the answer relative to that of the reference answer. Source: LLaVA's
// eval_gpt_review_bench.py (replies) and summarize_gpt_review.py (means).

import { pythonFloat, pythonRound } from '../../python/number.ts';
import { numpyMean, numpyStd } from '../../python/numpy.ts';
import { RecordError } from '../../records/error.ts';
import { describeValue, type Place } from '../../records/field.ts';
import { withoutReasoning } from '../../text/reasoning.ts';
import { type Answer, type Label, rowId } from '../scoring/answers.ts';
import type { EvalFile } from '../scoring/file.ts';
import type { Joined } from '../scoring/join.ts';
import { holdRecords, readJudged, scoreOf } from '../scoring/judged.ts';
import { type EvalOptions, finite, groupBy } from '../scoring/score-row.ts';
import { benchmarkScorer } from '../scoring/scorer.ts';
import { clusteredInterval } from '../scoring/statistics.ts';

/** The two scores of one review; failed: the reply had none (official: -1, -1). */
interface Review extends Answer {
  run: number;
  pair: [reference: number, answer: number];
  isFailed: boolean;
  category: string;
  image?: string | undefined;
}

interface BenchLabel extends Label {
  category: string;
}

const FAILED: [number, number] = [-1, -1];

/** The official parser: the first line, commas as blanks, split at every blank, must be exactly two numbers; else -1, -1. */
export function parseReviewOfficial(content: string): [number, number] {
  const [line = ''] = content.split('\n', 1);
  const words = line.replaceAll(',', ' ').split(' ');
  if (words.length !== 2) return FAILED;
  const numbers = words.map(pythonFloat);
  return numbers.every((number) => number !== undefined) ? (numbers as [number, number]) : FAILED;
}

/** Two numbers from 1 to 10 on the first non-blank line; "Assistant 1:" and "/10" around them are ignored. */
export function parseReviewStrict(content: string): [number, number] | undefined {
  const said = withoutReasoning(content);
  const line = said.split('\n').find((text) => text.trim() !== '') ?? '';
  const plain = line.replace(/assistant\s*\d+\s*:?/gi, ' ').replace(/\/\s*10(?![\d.])/g, ' ');
  const numbers = [...plain.matchAll(/(?<![\d.-])\d+(?:\.\d+)?/g)].map(Number);
  return numbers.length === 2 && numbers.every((number) => number >= 1 && number <= 10)
    ? (numbers as [number, number])
    : undefined;
}

/** Scores review files (one judge run each) or records judged with guide llava-bench. */
export const scoreLlavaBench = benchmarkScorer<BenchLabel, Review, Joined<BenchLabel, Review>>({
  benchmark: 'llava-bench',
  read({ answers: files, labels, questions, options }) {
    const answers = holdRecords(files)
      ? reviewedRecords(files, options)
      : files.flatMap((file, run) => reviewFile(file, run + 1, options));
    return { answers, labels: readLabels([...labels, ...questions], answers) };
  },
  mark: (joined) => joined,
  parts(questions, labels) {
    const categories = [...new Set(labels.map((label) => label.category))].filter((category) => category !== '').sort();
    return categories.map(
      (category) => [category, questions.filter(({ label }) => label.category === category)] as const,
    );
  },
  figures: (part, { input }) => reviewFigures(part.filter(isReviewed), input.options),
  failed: (questions) => questions.filter(({ answer }) => answer?.isFailed).length,
  items(questions) {
    const known = questions.filter(isReviewed).filter(({ answer }) => !answer.isFailed);
    return [...groupBy(known, ({ label }) => label.id)].map(([id, group]) => ({
      split: group[0]!.label.category,
      id,
      cluster: group[0]!.label.cluster,
      value: numpyMean(group.map(({ answer }) => answer.pair[1])),
    }));
  },
  officialFailure: '-1 and -1',
});

type Reviewed = { label: BenchLabel; answer: Review };

function isReviewed(question: Joined<BenchLabel, Review>): question is Reviewed {
  return question.answer !== undefined;
}

function reviewFigures(part: readonly Reviewed[], options: EvalOptions) {
  const scored = part.filter(({ answer }) => options.includeFailed || !answer.isFailed);
  const runs = [...groupBy(part, ({ answer }) => answer.run).keys()].map((run) => {
    const ofRun = scored.filter(({ answer }) => answer.run === run);
    // The official script rounds both means before it divides them.
    const [reference, answer] = [0, 1].map((column) => pythonRound(meanColumn(ofRun, column), 3)) as [number, number];
    return { reference, answer, score: (answer / reference) * 100 };
  });
  const score = numpyMean(runs.map((run) => run.score));
  const contributions = scored.map(({ label, answer }) => ({ cluster: label.cluster, sums: [...answer.pair] }));
  return {
    n: new Set(scored.map(({ label }) => label.id)).size,
    score: finite(score),
    printed: finite(pythonRound(score, 1)),
    reference_score: finite(pythonRound(numpyMean(runs.map((run) => run.reference)) * 10, 1)),
    answer_score: finite(pythonRound(numpyMean(runs.map((run) => run.answer)) * 10, 1)),
    ...(runs.length > 1 && {
      runs: runs.map((run) => finite(run.score)),
      std: finite(numpyStd(runs.map((run) => run.score))),
    }),
    ...clusteredInterval(contributions, ([reference, answer]) => (100 * answer!) / reference!),
    failed: part.length - part.filter(({ answer }) => !answer.isFailed).length,
  };
}

function meanColumn(part: readonly Reviewed[], column: number): number {
  return part.reduce((sum, { answer }) => sum + answer.pair[column]!, 0) / part.length;
}

function reviewedRecords(files: readonly EvalFile[], options: EvalOptions): Review[] {
  return readJudged(files, 'llava-bench', options).map(({ id, at, model, run, failed, record, scores }) => ({
    ...{ id, at, model, run, text: '', row: {} },
    pair:
      failed === undefined ? [scoreOf({ at, scores }, 'reference_score'), scoreOf({ at, scores }, 'score')] : FAILED,
    isFailed: failed !== undefined,
    category: String(record.meta?.category ?? ''),
    image: record.images?.[0],
  }));
}

function reviewFile(file: EvalFile, run: number, options: EvalOptions): Review[] {
  return file.rows.map(({ value, at }) => {
    const pair = reviewPair(value, at, options);
    return {
      ...{ id: rowId(value, at), at, model: '', run, text: '', row: {} },
      pair,
      // float() accepts "nan", which is no score.
      isFailed: (pair[0] === -1 && pair[1] === -1) || pair.some(Number.isNaN),
      category: categoryOf(value.category),
    };
  });
}

function reviewPair(
  { tuple, score, content }: Record<string, unknown>,
  at: Place,
  options: EvalOptions,
): [number, number] {
  if (options.parse === 'strict' && typeof content === 'string') return parseReviewStrict(content) ?? FAILED;
  const pair = tuple ?? score ?? (typeof content === 'string' ? parseReviewOfficial(content) : undefined);
  if (Array.isArray(pair) && pair.length === 2 && pair.every((value) => typeof value === 'number'))
    return pair as [number, number];
  throw new RecordError(at, 'tuple', 'two numbers', describeValue(pair));
}

// Review rows hold the name of the judge's rule: "llava_bench_conv".
function categoryOf(category: unknown): string {
  return typeof category === 'string' ? category.replace(/^llava_bench_/, '') : '';
}

/** Labels from the questions file, or else from the reviews. */
function readLabels(files: readonly EvalFile[], reviews: readonly Review[]): BenchLabel[] {
  const rows = files.flatMap((file) => file.rows).filter(({ value }) => 'question_id' in value && 'image' in value);
  if (rows.length > 0)
    return rows.map(({ value, at }) => ({
      id: rowId(value, at),
      split: '',
      cluster: String(value.image),
      at,
      category: categoryOf(value.category),
    }));
  const seen = new Map<string, BenchLabel>();
  for (const { id, at, category, image } of reviews)
    if (!seen.has(id)) seen.set(id, { id, split: '', cluster: image ?? id, at, category });
  return [...seen.values()];
}
