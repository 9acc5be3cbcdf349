// SPDX-License-Identifier: Apache-2.0
// Pairs from a judge's scores: the best response against one that is clearly worse.

import type { Row } from '../../flow/stage.ts';
import { randomStream } from '../../records/random.ts';
import type { Picked, Rule, RuleOptions } from './rule.ts';
import { bestAndWorse, countedRuns, noRuns, type ScoredResponse } from './scores.ts';

/**
 * chosen: first response with the highest sum. rejected: uniformly among those at least `margin` below.
 *   Source: findalexli/mllm-dpo eval_logp_for_ddp_self_sampled_llava8times.ipynb (sum of helpfulness, correctness
 *   and coherence, margin 2). The published code may pair two equal responses; only --faithful reproduces that.
 */
export const score: Rule = (row, options) =>
  pairByScore('score', row, options, (worse) => {
    const draws = randomStream(options.seed, row.record.id, 'pair/rejected');
    const pool = [...worse];
    for (let place = 0; place < pool.length - 1; place++) {
      const other = place + draws.nextInt(pool.length - place);
      [pool[place], pool[other]] = [pool[other]!, pool[place]!];
    }
    return pool;
  });

/** The highest score against the lowest (the lowest K). Equal scores: the earlier response. */
export const bestOfN: Rule = (row, options) =>
  pairByScore('best-of-n', row, options, (worse) => [...worse].sort((a, b) => a.score - b.score || a.index - b.index));

function pairByScore(
  rule: string,
  row: Row,
  options: RuleOptions,
  order: (worse: readonly ScoredResponse[]) => ScoredResponse[],
): Picked[] | { dropped: string } {
  const runs = countedRuns(row, options.scoring);
  if (runs.length === 0) return noRuns(row);
  const sides = bestAndWorse(row, options);
  if ('dropped' in sides) return sides;
  const { best, worse } = sides;
  const different = options.faithful ? worse : worse.filter(({ response }) => response.text !== best.response.text);
  if (different.length === 0) return { dropped: 'equal answers' };
  const rejected = distinctTexts(order(different), options.negatives ?? 1);
  const { metrics, by, doubt } = options.scoring;
  const graded = by === undefined ? { metrics: Object.keys(metrics) } : { by, doubt };
  const info = { ...graded, runs: runs.length, chosen: best.index };
  const seed = rule === 'score' && worse.length > 1 ? { seed: options.seed } : {};
  if (options.negatives === undefined) {
    const { response, score, index } = rejected[0]!;
    const pair = { rule, ...info, rejected: index, ...seed };
    return [
      {
        fields: {
          chosen: best.response.text,
          rejected: response.text,
          chosen_score: best.score,
          rejected_score: score,
          pair,
        },
      },
    ];
  }
  const pair = { rule, ...info, rejected: rejected.map(({ index }) => index), ...seed };
  const fields = {
    chosen: best.response.text,
    rejected: rejected.map(({ response }) => response.text),
    chosen_score: best.score,
    rejected_score: rejected.map(({ score }) => score),
    pair,
  };
  return [{ fields }];
}

function distinctTexts(ordered: readonly ScoredResponse[], count: number): ScoredResponse[] {
  const taken: ScoredResponse[] = [];
  for (const candidate of ordered) {
    if (taken.length === count) break;
    if (taken.every(({ response }) => response.text !== candidate.response.text)) taken.push(candidate);
  }
  return taken;
}
