// SPDX-License-Identifier: Apache-2.0
// One response to learn from: the reference, the judge's own answer, or the best sampled one (rejection sampling).
import type { Row } from '../../flow/stage.ts';
import type { Picked, Rule, RuleOptions } from './rule.ts';
import { bestResponse, countedRuns, noRuns, scoredResponses } from './scores.ts';

export const sft: Rule = (row, options) => {
  if (options.from === 'reference') return fromReference(row);
  const runs = countedRuns(row, options.scoring);
  if (runs.length === 0) return noRuns(row);
  if (options.from === 'best') return fromBest(row, options);
  const own = runs.find(({ annotation }) => annotation.own_response)?.annotation.own_response;
  return own === undefined ? { dropped: 'no answer by the judge' } : [learn(own, { from: 'judge' })];
};

function fromReference({ record }: Row) {
  const { reference } = record;
  const text = Array.isArray(reference) ? reference[0] : reference;
  return text ? [learn(text, { from: 'reference' })] : { dropped: 'no reference' };
}

function fromBest(row: Row, options: RuleOptions) {
  const scored = scoredResponses(row, options);
  if (scored.length === 0) return { dropped: 'no scored answer' };
  const best = bestResponse(row, scored, options);
  if (best === undefined) return { dropped: 'tie for best' };
  if (best.score < (options.minScore ?? Number.NEGATIVE_INFINITY)) return { dropped: 'best score too low' };
  const { response, index, score } = best;
  return [
    learn(response.text, { from: 'best', response: index, score, metrics: Object.keys(options.scoring.metrics) }),
  ];
}

function learn(response: string, info: Record<string, unknown>): Picked {
  return { fields: { response, pair: { rule: 'sft', ...info } } };
}
