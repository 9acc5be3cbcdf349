// SPDX-License-Identifier: Apache-2.0
// Scores of responses from the record's annotations. Only judge runs with outcome ok count.

import type { Row } from '../../flow/stage.ts';
import { isDoubtful } from '../../records/claim.ts';
import { count } from '../../records/count.ts';
import { RecordError } from '../../records/error.ts';
import { randomStream } from '../../records/random.ts';
import type { Annotation, Response } from '../../records/record.ts';
import { type RuleOptions, type Scoring, usableResponses } from './rule.ts';

export interface ScoredResponse {
  response: Response;
  /** Index in `responses`. */
  index: number;
  /** Weighted sum of metrics, averaged over judge runs. */
  score: number;
}

/** Tolerance: averages of whole numbers that differ by less are equal. */
const ROUNDING = 1e-9;

/** Judge runs with outcome ok and the requested guide, judge and run. */
export function countedRuns(row: Row, { guide, judge, run, by }: Scoring): { annotation: Annotation; path: string }[] {
  return (row.record.annotations ?? []).flatMap((annotation, index) => {
    const counts =
      annotation.outcome === 'ok' &&
      (guide === undefined || annotation.guide === guide) &&
      (judge === undefined || annotation.judge === judge) &&
      (run === undefined || annotation.run === run) &&
      (by === undefined || annotation.claims !== undefined);
    return counts ? [{ annotation, path: `annotations[${index}]` }] : [];
  });
}

/** The reason why a record has no counted run. */
export function noRuns(row: Row): { dropped: string } {
  const { annotations = [] } = row.record;
  if (annotations.length === 0) return { dropped: 'no annotations' };
  return { dropped: annotations.some(({ outcome }) => outcome === 'ok') ? 'no annotation asked for' : 'judge failed' };
}

/** Mean of each metric over the counted runs, for each response; undefined if no run scored it. Throws RecordError. */
export function meanMetrics(
  row: Row,
  scoring: Scoring,
  names: readonly string[],
): (Record<string, number> | undefined)[] {
  const runs = countedRuns(row, scoring);
  const { responses = [] } = row.record;
  const sums = responses.map(() => ({ runs: 0, totals: new Array<number>(names.length).fill(0) }));
  for (const { annotation, path } of runs) {
    const { scores } = annotation;
    if (scores?.length !== responses.length)
      throw new RecordError(
        row,
        `${path}.scores`,
        `${count(responses.length, 'entry', 'entries')}, one per response`,
        String(scores?.length ?? 'none'),
      );
    for (const [index, graded] of scores.entries()) {
      if (graded === null) continue;
      const sum = sums[index]!;
      sum.runs += 1;
      for (const [place, name] of names.entries()) {
        const grade = graded[name];
        if (grade === undefined) throw missingMetric(row, `${path}.scores[${index}].${name}`, graded);
        sum.totals[place]! += grade;
      }
    }
  }
  return sums.map(({ runs, totals }) =>
    runs === 0 ? undefined : Object.fromEntries(names.map((name, place) => [name, totals[place]! / runs])),
  );
}

function missingMetric(row: Row, path: string, graded: Record<string, number>): RecordError {
  const names = Object.keys(graded);
  return new RecordError(row, path, 'a number', `nothing${names.length > 0 ? `; there is ${names.join(', ')}` : ''}`);
}

/** Usable responses that have a score, in the record's order. */
export function scoredResponses(row: Row, options: RuleOptions): ScoredResponse[] {
  const { metrics, by } = options.scoring;
  if (by === 'claims') return scoredByClaims(row, options);
  const names = Object.keys(metrics);
  const means = meanMetrics(row, options.scoring, names);
  return usableResponses(row.record, options).flatMap(({ response, index }) => {
    const mean = means[index];
    if (mean === undefined) return [];
    return [{ response, index, score: names.reduce((sum, name) => sum + metrics[name]! * mean[name]!, 0) }];
  });
}

/** Minus the number of doubtful claims, averaged over judge runs. A response without claims is excluded. */
function scoredByClaims(row: Row, options: RuleOptions): ScoredResponse[] {
  const runs = countedRuns(row, options.scoring);
  const { responses = [] } = row.record;
  for (const { annotation, path } of runs)
    if (annotation.claims!.length !== responses.length)
      throw new RecordError(
        row,
        `${path}.claims`,
        `${count(responses.length, 'entry', 'entries')}, one per response`,
        String(annotation.claims!.length),
      );
  return usableResponses(row.record, options).flatMap(({ response, index }) => {
    const lists = runs.map(({ annotation }) => annotation.claims![index]!).filter((claims) => claims.length > 0);
    if (lists.length === 0) return [];
    const doubtful = lists.map((claims) => claims.filter((claim) => isDoubtful(claim, options.scoring.doubt)).length);
    return [{ response, index, score: -doubtful.reduce((sum, count) => sum + count, 0) / lists.length || 0 }];
  });
}

/** The best of them; undefined for a tie if ties are dropped. */
export function bestResponse(
  row: Row,
  scored: readonly ScoredResponse[],
  { ties, seed }: RuleOptions,
): ScoredResponse | undefined {
  const most = Math.max(...scored.map(({ score }) => score));
  const best = scored.filter(({ score }) => score >= most - ROUNDING);
  if (best.length === 1 || ties === 'first') return best[0];
  return ties === 'drop' ? undefined : best[randomStream(seed, row.record.id, 'pair/tie').nextInt(best.length)];
}

/** Responses that score at least `margin` below the best, and strictly below it. */
function clearlyWorse(scored: readonly ScoredResponse[], best: ScoredResponse, margin: number): ScoredResponse[] {
  return scored.filter(({ score }) => score <= best.score - margin + ROUNDING && score < best.score - ROUNDING);
}

/** The best of a record's scored responses and the clearly worse ones, or the reason if a side is empty. */
export function bestAndWorse(
  row: Row,
  options: RuleOptions,
): { best: ScoredResponse; worse: ScoredResponse[] } | { dropped: string } {
  const scored = scoredResponses(row, options);
  if (scored.length < 2) return { dropped: 'fewer than two scored answers' };
  const best = bestResponse(row, scored, options);
  if (best === undefined) return { dropped: 'tie for best' };
  const worse = clearlyWorse(scored, best, options.margin);
  return worse.length === 0 ? { dropped: 'scores within the margin' } : { best, worse };
}
