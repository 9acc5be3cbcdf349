// SPDX-License-Identifier: Apache-2.0
// Agreement of a judge with people: the share of pairs in which the judge prefers the human-preferred response, by verdicts,
// scores or probabilities. VL-RewardBench (Li et al. 2024, 2411.17451).

import { RecordError, UsageError } from '../../records/error.ts';
import { describeValue, isObject, type Place } from '../../records/field.ts';
import type { Annotation } from '../../records/record.ts';
import { type Answer, type Label, labelsOfRecords, rowId } from '../scoring/answers.ts';
import type { EvalFile } from '../scoring/file.ts';
import type { Joined } from '../scoring/join.ts';
import { readEntries } from '../scoring/judged.ts';
import { type EvalOptions, finite, groupBy } from '../scoring/score-row.ts';
import { benchmarkScorer, partsBy } from '../scoring/scorer.ts';
import { clusteredInterval, meanOf } from '../scoring/statistics.ts';
import { preferredOf } from './label.ts';

interface PairLabel extends Label {
  /** Index of the preferred response. */
  preferred: number;
  category: string;
}

interface Opinion extends Answer {
  run: number;
  /** Index of the response that the judge prefers; null: a tie; undefined: the call failed. */
  winner: number | null | undefined;
  /** Values of the two responses, if the judge gives numbers. */
  scores?: [number, number] | undefined;
  /** Whether both orders gave the same winner, if both were asked. */
  isConsistent?: boolean | undefined;
}

type Question = Joined<PairLabel, Opinion>;
type Judged = { label: PairLabel; answer: Opinion & { winner: number | null } };

/** Scores records of pairs judged with any guide: verdicts, or scores whose larger sum wins. */
export const scoreJudgeAgreement = benchmarkScorer<PairLabel, Opinion, Question>({
  benchmark: 'judge-agreement',
  read: ({ answers: files, labels, options }) => ({
    answers: opinions(files, options),
    labels:
      labels.length > 0
        ? labels.flatMap((file) => file.rows.map(({ value, at }) => rowLabel(value, at)))
        : labelsOfRecords(files, '--labels FILE, or records with meta.preferred (0 or 1)', ownLabel),
  }),
  mark: (joined) => joined,
  parts: (questions) => partsBy(questions, ({ label }) => label.category).filter(([category]) => category !== ''),
  figures(part, { split }) {
    const judged = part.filter(isJudged);
    const missing = part.filter(({ answer }) => answer === undefined).length;
    const agreements = judged.map(agreement);
    const asked = judged.flatMap(({ answer }) => answer.isConsistent ?? []);
    const categories = [...groupBy(judged, ({ label }) => label.category).values()];
    return {
      n: judged.length,
      score: finite(100 * meanOf(agreements)),
      ...(split === 'all' &&
        categories.length > 1 && {
          macro: finite(100 * meanOf(categories.map((category) => meanOf(category.map(agreement))))),
        }),
      // As in VL-RewardBench, a tie is no agreement.
      without_ties: finite(100 * meanOf(agreements.map((value) => +(value === 1)))),
      ties: agreements.filter((value) => value === 0.5).length,
      first_preferred: finite(
        meanOf(judged.map(({ answer }) => (answer.winner === null ? 0.5 : +(answer.winner === 0)))),
      ),
      ...(asked.length > 0 && { consistent: finite(meanOf(asked.map(Number))) }),
      ...scoreFigures(judged),
      ...clusteredInterval(
        judged.map((question, index) => ({ cluster: question.label.cluster, sums: [agreements[index]!, 1] })),
        ([sum, count]) => (100 * sum!) / count!,
        [0, 100],
      ),
      failed: part.length - missing - judged.length,
      ...(missing > 0 && { missing }),
    };
  },
  failed: (questions) => questions.filter(({ answer }) => answer !== undefined && answer.winner === undefined).length,
  items: (questions) =>
    [...groupBy(questions.filter(isJudged), ({ label }) => label.id)].map(([id, runs]) => ({
      ...{ split: runs[0]!.label.category, id, cluster: runs[0]!.label.cluster },
      value: meanOf(runs.map(agreement)),
    })),
});

function isJudged(question: Question): question is Judged {
  return question.answer !== undefined && question.answer.winner !== undefined;
}

/** 1: the same response is preferred, 0: the other, 0.5: a tie. */
function agreement({ label, answer }: Judged): number {
  return answer.winner === null ? 0.5 : +(answer.winner === label.preferred);
}

/** How well the values separate preferred from other responses across all pairs, and the mean difference. */
function scoreFigures(judged: readonly Judged[]) {
  const pairs = judged.flatMap(({ label, answer }) => {
    if (answer.scores === undefined) return [];
    return [{ better: answer.scores[label.preferred]!, worse: answer.scores[1 - label.preferred]! }];
  });
  if (pairs.length === 0) return {};
  return {
    margin: finite(meanOf(pairs.map(({ better, worse }) => better - worse))),
    auc: finite(
      areaUnderCurve(
        pairs.map(({ better }) => better),
        pairs.map(({ worse }) => worse),
      ),
    ),
  };
}

/** The probability that one of the first is above one of the others, ties as halves (Mann-Whitney). */
export function areaUnderCurve(better: readonly number[], worse: readonly number[]): number {
  const sorted = [...worse].sort((a, b) => a - b);
  const countWhere = (isBelow: (other: number) => boolean) => {
    let [low, high] = [0, sorted.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (isBelow(sorted[middle]!)) low = middle + 1;
      else high = middle;
    }
    return low;
  };
  const wins = better.map((value) => {
    const [below, upTo] = [countWhere((other) => other < value), countWhere((other) => other <= value)];
    return (below + upTo) / 2 / sorted.length;
  });
  return meanOf(wins);
}

function opinions(files: readonly EvalFile[], options: EvalOptions): Opinion[] {
  return readEntries(files, soleGuide(files, options), options).map(({ id, at, record, annotation }) => {
    const numResponses = record.responses?.length ?? 0;
    if (record.error === undefined && numResponses !== 2)
      throw new RecordError(at, 'responses', 'two responses, of which one is preferred', `${numResponses}`);
    const head = { id, at, model: annotation?.judge ?? '', run: annotation?.run ?? 1, text: '', row: {} };
    if (annotation?.outcome !== 'ok') return { ...head, winner: undefined };
    return { ...head, ...(opinionOf(annotation, at) ?? { winner: undefined }) };
  });
}

/** The one guide that the records were judged with. */
function soleGuide(files: readonly EvalFile[], { judge }: EvalOptions): string {
  const annotations = files.flatMap((file) =>
    file.rows.flatMap(({ value }) => (Array.isArray(value.annotations) ? (value.annotations as Annotation[]) : [])),
  );
  const guides = [
    ...new Set(annotations.filter((one) => judge === undefined || one.judge === judge).map(({ guide }) => guide)),
  ];
  if (guides.length === 1) return guides[0]!;
  throw new UsageError(
    `judge-agreement: expected records judged with one guide, got ${guides.length === 0 ? 'none' : guides.join(', ')}`,
  );
}

/** From a verdict on the pair, or from scores of both responses. */
function opinionOf(
  { verdict, scores }: Annotation,
  at: Place,
): Pick<Opinion, 'winner' | 'scores' | 'isConsistent'> | undefined {
  const first = Array.isArray(verdict) ? verdict[0] : undefined;
  if (isObject(first) && (first.winner === null || typeof first.winner === 'number')) {
    const { winner, games } = first as { winner: number | null; games?: unknown };
    const isConsistent = Array.isArray(games) && games.length === 2 ? games[0] === games[1] : undefined;
    return { winner, isConsistent };
  }
  if (!Array.isArray(scores) || scores.length !== 2) return undefined;
  const [a, b] = scores.map((one, index) => qualityOf(one, at, index)) as [number, number];
  return { winner: a === b ? null : a > b ? 0 : 1, scores: [a, b] };
}

// The paper's quality; other guides must give one number.
const QUALITY = ['helpfulness', 'correctness', 'coherence'];

function qualityOf(scores: unknown, at: Place, index: number): number {
  const entries = isObject(scores) ? Object.entries(scores).filter(([, value]) => typeof value === 'number') : [];
  const named = entries.filter(([name]) => QUALITY.includes(name));
  const used = named.length === QUALITY.length ? named : entries;
  if (used.length === 1 || named.length === QUALITY.length)
    return used.reduce((sum, [, value]) => sum + (value as number), 0);
  throw new RecordError(
    at,
    `annotations[].scores[${index}]`,
    `one score, or ${QUALITY.join(', ')}`,
    entries.length === 0 ? describeValue(scores) : entries.map(([name]) => name).join(', '),
  );
}

function ownLabel({ record, id, cluster, at }: { record: { meta?: object }; id: string; cluster: string; at: Place }) {
  const { preferred, category } = (record.meta ?? {}) as { preferred?: unknown; category?: unknown };
  if (preferred !== 0 && preferred !== 1) return undefined;
  return { id, split: '', cluster, at, preferred, category: String(category ?? '') };
}

function rowLabel(value: Record<string, unknown>, at: Place): PairLabel {
  const { preferred, human_ranking: ranking, category, image } = value;
  const index = preferred ?? preferredOf(ranking, at, 'human_ranking');
  if (index !== 0 && index !== 1) throw new RecordError(at, 'preferred', '0 or 1', describeValue(preferred));
  const id = rowId(value, at);
  const cluster = typeof image === 'string' ? image : id;
  return { id, split: '', cluster, at, preferred: index, category: String(category ?? '') };
}
