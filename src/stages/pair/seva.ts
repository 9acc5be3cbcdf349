// SPDX-License-Identifier: Apache-2.0
// SeVa: the response to the clean image is chosen, the response to a distorted one rejected; equal responses are dropped.
//   Source: Zhu et al. 2024, section 3.2 and algorithm 1; several rejected responses: eq. 18.
import type { Response } from '../../records/record.ts';
import { type Picked, type Rule, type RuleOptions, usableResponses } from './rule.ts';

const ORIGINAL = 'original';

export const seva: Rule = ({ record }, options, left) => {
  const clean: Response[] = [];
  const distorted: Response[] = [];
  for (const { response } of usableResponses(record, options)) {
    const { view = ORIGINAL } = response;
    if (view === ORIGINAL) clean.push(response);
    else if (options.views?.includes(view) ?? true) distorted.push(response);
  }
  if (clean.length === 0) return { dropped: 'no answer to the clean image' };
  if (distorted.length === 0) return { dropped: 'no answer to a distorted image' };
  return options.negatives === undefined
    ? onePairPerView(clean, distorted, options, left)
    : oneRecord(clean[0]!, distorted, options.negatives, options);
};

/** The jth response to a view against the jth response to the clean image. */
function onePairPerView(
  clean: Response[],
  distorted: Response[],
  options: RuleOptions,
  left: (reason: string) => void,
) {
  const seen = new Map<string, number>();
  const picked: Picked[] = [];
  let equal = 0;
  for (const [place, rejected] of distorted.entries()) {
    const view = rejected.view!;
    const sample = seen.get(view) ?? 0;
    seen.set(view, sample + 1);
    const chosen = clean[sample % clean.length]!;
    if (chosen.text === rejected.text) {
      equal += 1;
      continue;
    }
    const fields = {
      chosen: published(chosen.text, options),
      rejected: published(rejected.text, options),
      pair: { rule: 'seva', view },
    };
    picked.push(distorted.length > 1 ? { suffix: place, fields } : { fields });
  }
  if (picked.length === 0) return { dropped: 'equal answers' };
  for (let count = 0; count < equal; count++) left('equal answers');
  return picked;
}

/** One clean response against up to `negatives` different ones, in the order of the views. */
function oneRecord(chosen: Response, distorted: Response[], negatives: number, options: RuleOptions) {
  const rejected: Response[] = [];
  for (const response of distorted) {
    if (rejected.length === negatives) break;
    if (response.text !== chosen.text && rejected.every(({ text }) => text !== response.text)) rejected.push(response);
  }
  if (rejected.length === 0) return { dropped: 'equal answers' };
  const pair = { rule: 'seva', view: rejected.map(({ view }) => view) };
  return [
    {
      fields: {
        chosen: published(chosen.text, options),
        rejected: rejected.map(({ text }) => published(text, options)),
        pair,
      },
    },
  ];
}

/** The published code deletes line breaks from responses, without a blank instead. */
function published(text: string, { faithful }: RuleOptions): string {
  return faithful ? text.replaceAll('</s>', '').replaceAll('\n', '') : text;
}
