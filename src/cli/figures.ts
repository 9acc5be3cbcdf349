// SPDX-License-Identifier: Apache-2.0
// Figures in each command's progress line, besides rows, rate and time left.

import type { RowResult } from '../flow/stage.ts';
import type { Tally } from '../stages/annotate/tally.ts';
import { type Figures, formatRate, group, type RunCounts } from './progress.ts';

/** sample: tokens and images per second. */
export function sampleProgress(): Figures {
  let tokens = 0;
  let images = 0;
  const see = ({ row, records }: RowResult) => {
    const { responses = [], images: own = [], views = [] } = records[0] ?? row.record;
    const made = responses.slice(row.record.responses?.length ?? 0);
    for (const { num_tokens = 0 } of made) tokens += num_tokens;
    for (const name of new Set(made.map(({ view }) => view)))
      images += views.find((view) => view.name === name)?.images?.length ?? own.length;
  };
  const parts = (seconds: number) => [...rate(tokens, seconds, 'tokens'), ...rate(images, seconds, 'images')];
  return { see, parts };
}

/** score: texts per second. */
export function scoreProgress(): Figures {
  let texts = 0;
  const see = ({ records }: RowResult) => {
    for (const { responses = [], choices = [], chosen, rejected, response } of records)
      texts +=
        responses.length +
        choices.length +
        [chosen, rejected, response].flat().filter((text) => text !== undefined).length;
  };
  return { see, parts: (seconds) => rate(texts, seconds, 'texts') };
}

/** augment: views per second. */
export function augmentProgress(): Figures {
  let views = 0;
  const see = ({ row, records }: RowResult) => {
    const added = (records[0]?.views?.length ?? 0) - (row.record.views?.length ?? 0);
    views += Math.max(0, added) * (row.record.images?.length ?? 0);
  };
  return { see, parts: (seconds) => rate(views, seconds, 'images') };
}

/** pair: kept rows; dropped rows are in every progress line. */
export function pairProgress(counts: RunCounts): Figures {
  return { parts: () => [`${group(counts.written)} kept`], areInSummary: true };
}

/** annotate: entries by outcome, replies from the cache, cost. */
export function annotateProgress(tally: Tally): Figures {
  return {
    parts: () => {
      const { ok = 0, ...others } = tally.outcomes;
      const bad = Object.values(others).reduce((sum, count) => sum + count, 0);
      return [
        `${ok} ok`,
        ...(bad > 0 ? [`${bad} not ok`] : []),
        ...(tally.cost === undefined ? [] : [`${tally.cost.toFixed(2)} USD`]),
        `${tally.cached} cached`,
      ];
    },
  };
}

function rate(count: number, seconds: number, unit: string): string[] {
  return count === 0 || seconds <= 0 ? [] : [`${formatRate(count / seconds)} ${unit}/s`];
}
