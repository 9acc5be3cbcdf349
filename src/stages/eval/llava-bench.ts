// SPDX-License-Identifier: Apache-2.0
// LLaVA-Bench (in the wild): the judge's score of the answer relative to that of the reference answer. Source: LLaVA's
// eval_gpt_review_bench.py (replies) and summarize_gpt_review.py (means).
import { RecordError } from '../../records/error.ts';
import { describeValue, type Place } from '../../records/field.ts';
import { withoutReasoning } from '../../text/reasoning.ts';
import { type Answer, answersByModel, joinAnswers, type Label, modelField, rowId } from './answers.ts';
import type { EvalFile } from './file.ts';
import { holdRecords, readJudged, scoreOf } from './judged.ts';
import { numpyMean, numpyStd, pythonFloat, pythonRound } from './python.ts';
import {
  type EvalInput,
  type EvalOptions,
  type Evaluation,
  finite,
  groupBy,
  labelHashes,
  type ScoreRow,
} from './score-row.ts';
import { clusteredInterval } from './statistics.ts';

/** The two scores of one review; failed: the reply had none (official: -1, -1). */
interface Review {
  run: number;
  pair: [reference: number, answer: number];
  isFailed: boolean;
}

interface BenchLabel extends Label {
  category: string;
}

const FAILED: [number, number] = [-1, -1];

/** The official reading: the first line, commas as blanks, cut at every blank, must be exactly two numbers; else -1, -1. */
export function parseReviewOfficial(content: string): [number, number] {
  const [line = ''] = content.split('\n', 1);
  const words = line.replaceAll(',', ' ').split(' ');
  if (words.length !== 2) return FAILED;
  const numbers = words.map(pythonFloat);
  return numbers.every((number) => number !== undefined) ? (numbers as [number, number]) : FAILED;
}

/** Two numbers from 1 to 10 on the first line that is not blank; "Assistant 1:" and "/10" around them are no matter. */
export function parseReviewStrict(content: string): [number, number] | undefined {
  const said = withoutReasoning(content);
  const line = said.split('\n').find((text) => text.trim() !== '') ?? '';
  const plain = line.replace(/assistant\s*\d+\s*:?/gi, ' ').replace(/\/\s*10(?![\d.])/g, ' ');
  const numbers = [...plain.matchAll(/(?<![\d.-])\d+(?:\.\d+)?/g)].map(Number);
  return numbers.length === 2 && numbers.every((number) => number >= 1 && number <= 10)
    ? (numbers as [number, number])
    : undefined;
}

/** Scores review files (each one judge run) or records judged with guide llava-bench. */
export function scoreLlavaBench({ answers: files, labels: labelFiles, questions, options }: EvalInput): Evaluation {
  const notes: string[] = [];
  const reviews = holdRecords(files)
    ? reviewedRecords(files, options)
    : files.flatMap((file, run) => reviewFile(file, run + 1, options));
  const labels = readLabels([...labelFiles, ...questions], reviews);
  const evaluation: Evaluation = { rows: [], items: [], notes, failed: 0 };
  for (const [model, ofModel] of answersByModel(reviews.map(({ answer }) => answer))) {
    const reviewOf = new Map(reviews.map(({ answer, review }) => [answer, review]));
    const byRun = groupBy(ofModel, (answer) => reviewOf.get(answer)!.run);
    const runs = [...byRun].map(([run, answers]) => ({
      run,
      joined: joinAnswers(labels, answers, options, notes).flatMap(({ label, answer }) =>
        answer === undefined ? [] : [{ label, ...reviewOf.get(answer)! }],
      ),
      missing: labels.length - answers.length,
    }));
    const categories = [...new Set(labels.map((label) => label.category))].filter((category) => category !== '');
    for (const split of [...categories.sort(), 'all']) {
      const parts = runs.map(({ joined }) => joined.filter(({ label }) => split === 'all' || label.category === split));
      evaluation.rows.push({
        ...reviewRow(split, model, parts, options),
        ...labelHashes(labelFiles),
        parse: options.parse,
      });
    }
    evaluation.failed += runs.reduce((sum, { joined }) => sum + joined.filter((review) => review.isFailed).length, 0);
    for (const [id, group] of groupBy(
      runs.flatMap(({ joined }) => joined.filter((review) => !review.isFailed)),
      ({ label }) => label.id,
    ))
      evaluation.items.push({
        model,
        split: group[0]!.label.category,
        id,
        cluster: group[0]!.label.cluster,
        value: numpyMean(group.map((review) => review.pair[1])),
      });
  }
  if (evaluation.failed > 0)
    notes.push(
      `${evaluation.failed} failed judge calls are left out; --include-failed counts them as the official script does (-1 and -1)`,
    );
  return evaluation;
}

type Reviewed = Review & { label: BenchLabel };

function reviewRow(split: string, model: string, parts: Reviewed[][], options: EvalOptions): ScoreRow {
  const scored = parts.map((part) => part.filter((review) => options.includeFailed || !review.isFailed));
  const runs = scored.map((part) => {
    // The official script rounds both means before it divides them.
    const [reference, answer] = [0, 1].map((column) => pythonRound(meanColumn(part, column), 3)) as [number, number];
    return { reference, answer, score: (answer / reference) * 100 };
  });
  const score = numpyMean(runs.map((run) => run.score));
  const contributions = scored.flat().map(({ label, pair }) => ({ cluster: label.cluster, sums: [...pair] }));
  const all = parts.flat();
  return {
    benchmark: 'llava-bench',
    split,
    ...modelField(model),
    n: new Set(scored.flat().map(({ label }) => label.id)).size,
    score: finite(score),
    printed: finite(pythonRound(score, 1)),
    reference_score: finite(pythonRound(numpyMean(runs.map((run) => run.reference)) * 10, 1)),
    answer_score: finite(pythonRound(numpyMean(runs.map((run) => run.answer)) * 10, 1)),
    ...(runs.length > 1 && {
      runs: runs.map((run) => finite(run.score)),
      std: finite(numpyStd(runs.map((run) => run.score))),
    }),
    ...clusteredInterval(contributions, ([reference, answer]) => (100 * answer!) / reference!),
    failed: all.filter((review) => review.isFailed).length,
  };
}

function meanColumn(part: Reviewed[], column: number): number {
  return part.reduce((sum, { pair }) => sum + pair[column]!, 0) / part.length;
}

interface ReviewOfAnswer {
  answer: Answer;
  review: Review;
  category: string;
  image?: string;
}

function reviewedRecords(files: readonly EvalFile[], options: EvalOptions): ReviewOfAnswer[] {
  return readJudged(files, 'llava-bench', options).map((judged) => {
    const pair: [number, number] =
      judged.failed === undefined ? [scoreOf(judged, 'reference_score'), scoreOf(judged, 'score')] : FAILED;
    const image = judged.record.images?.[0];
    return {
      answer: { id: judged.id, at: judged.at, model: judged.model, text: '', row: {} },
      review: { run: judged.run, pair, isFailed: judged.failed !== undefined },
      category: String(judged.record.meta?.category ?? ''),
      ...(image !== undefined && { image }),
    };
  });
}

function reviewFile(file: EvalFile, run: number, options: EvalOptions): ReviewOfAnswer[] {
  return file.rows.map(({ value, at }) => {
    const pair = reviewPair(value, at, options);
    return {
      answer: { id: rowId(value, at), at, model: '', text: '', row: {} },
      // float() reads "nan": two words that are no scores either.
      review: { run, pair, isFailed: (pair[0] === -1 && pair[1] === -1) || pair.some(Number.isNaN) },
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

// Review rows carry the name of the judge's rule: "llava_bench_conv".
function categoryOf(category: unknown): string {
  return typeof category === 'string' ? category.replace(/^llava_bench_/, '') : '';
}

/** From the questions file, or else from the reviews themselves. */
function readLabels(files: readonly EvalFile[], reviews: readonly ReviewOfAnswer[]): BenchLabel[] {
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
  for (const { answer, category, image } of reviews)
    if (!seen.has(answer.id))
      seen.set(answer.id, { id: answer.id, split: '', cluster: image ?? answer.id, at: answer.at, category });
  return [...seen.values()];
}
