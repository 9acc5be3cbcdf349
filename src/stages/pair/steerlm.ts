// SPDX-License-Identifier: Apache-2.0
// SteerLM: trains on every scored response, with its scores in the prompt.
//   Source: Dong et al. 2023 (2310.05344); wording: see ../steerlm.ts.
import { STEER_ATTRIBUTES, steerRequest, withRequest } from '../../records/steerlm.ts';
import { type Rule, usableResponses } from './rule.ts';
import { countedRuns, meanMetrics, noRuns } from './scores.ts';

export const steerlm: Rule = (row, options) => {
  if (countedRuns(row, options.scoring).length === 0) return noRuns(row);
  const means = meanMetrics(row, options.scoring, STEER_ATTRIBUTES);
  const picked = usableResponses(row.record, options).flatMap(({ response, index }) => {
    const mean = means[index];
    if (mean === undefined) return [];
    // The prompt needs whole numbers, so averages over runs are rounded.
    const attributes = Object.fromEntries(Object.entries(mean).map(([name, grade]) => [name, Math.round(grade)]));
    const prompt = withRequest(row.record.prompt, steerRequest(attributes));
    return [
      {
        suffix: index,
        fields: { prompt, response: response.text, pair: { rule: 'steerlm', response: index, attributes } },
      },
    ];
  });
  return picked.length > 0 ? picked : { dropped: 'no scored answer' };
};
