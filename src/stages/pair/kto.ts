// SPDX-License-Identifier: Apache-2.0
// KTO: single responses, each labelled desirable or not, from a pair or from scores.
import type { Row } from '../../flow/stage.ts';
import type { Picked, Rule, RuleOptions } from './rule.ts';
import { bestAndWorse, countedRuns, noRuns, scoredResponses } from './scores.ts';

export const kto: Rule = (row, options) => {
  const { chosen, rejected } = row.record;
  if (chosen !== undefined && rejected !== undefined) return fromPair(row, chosen, [rejected].flat());
  if (countedRuns(row, options.scoring).length === 0) return noRuns(row);
  return options.threshold === undefined ? fromBest(row, options) : fromThreshold(row, options, options.threshold);
};

function fromPair({ record }: Row, chosen: string, rejected: string[]) {
  const { rule } = record.pair ?? {};
  const refs = [record.ref_rejected_logps ?? []].flat();
  const responses = [
    { text: chosen, label: true, logps: record.ref_chosen_logps },
    ...rejected.map((text, index) => ({ text, label: false, logps: refs[index] })),
  ];
  return responses.map(({ text, label, logps }, suffix): Picked => {
    const known = logps === undefined ? {} : { ref_response_logps: logps, ref: record.ref! };
    return { suffix, fields: { response: text, label, pair: { rule: 'kto', from: rule ?? 'pair' }, ...known } };
  });
}

function fromThreshold(row: Row, options: RuleOptions, threshold: number) {
  const scored = scoredResponses(row, options);
  if (scored.length === 0) return { dropped: 'no scored answer' };
  return scored.map(({ response, index, score }) => marked(response.text, index, score, score >= threshold));
}

/** The best response is desirable, clearly worse ones are undesirable, those between are dropped. */
function fromBest(row: Row, options: RuleOptions) {
  const sides = bestAndWorse(row, options);
  if ('dropped' in sides) return sides;
  const { best, worse } = sides;
  return [
    marked(best.response.text, best.index, best.score, true),
    ...worse.map(({ response, index, score }) => marked(response.text, index, score, false)),
  ].sort((a, b) => a.suffix! - b.suffix!);
}

function marked(text: string, index: number, score: number, label: boolean): Picked {
  return { suffix: index, fields: { response: text, label, pair: { rule: 'kto', response: index, score } } };
}
