// SPDX-License-Identifier: Apache-2.0
// Negatives by difficulty: the response to the clean image against responses to views. Their log-probability under the clean image must lie
// below the chosen response's by an amount within a band. SeVa fixes one noise step for all questions (Table 1, Fig. 7: too weak a step gives responses like
// the chosen one, too strong a step responses that are too easy to distinguish); the band selects per question. This rule is ours, not the paper's.

import type { Row } from '../../flow/stage.ts';
import { RecordError } from '../../records/error.ts';
import type { Response, VprefRecord } from '../../records/record.ts';
import { type Rule, usableResponses } from './rule.ts';

const ORIGINAL = 'original';

/** A band of log-probability differences in nats, both ends included. */
export interface GapBand {
  low: number;
  high: number;
}

export const gap: Rule = (row, options) => {
  const band = options.gap!;
  const usable = usableResponses(row.record, options);
  const chosen = usable.find(({ response }) => (response.view ?? ORIGINAL) === ORIGINAL);
  if (chosen === undefined) return { dropped: 'no answer to the clean image' };
  const others = usable.filter(({ response: { view = ORIGINAL, text } }) => {
    return view !== ORIGINAL && (options.views?.includes(view) ?? true) && text !== chosen.response.text;
  });
  if (others.length === 0) return { dropped: 'no other answer to a view' };
  const top = sumOf(row, chosen);
  const candidates = others
    .map((one) => ({ response: one.response, gap: top - sumOf(row, one) }))
    .filter((one) => one.gap >= band.low && one.gap <= band.high)
    .sort((a, b) => a.gap - b.gap);
  const rejected = different(candidates).slice(0, options.negatives ?? 1);
  if (rejected.length === 0) return { dropped: 'no answer within --gap' };
  const gaps = rejected.map((one) => one.gap);
  const weightBy = options.weightBy && { weight_by: options.weightBy };
  const isList = options.negatives !== undefined;
  const texts = rejected.map(({ response }) => response.text);
  const views = rejected.map(({ response }) => response.view!);
  return [
    {
      fields: {
        chosen: chosen.response.text,
        rejected: isList ? texts : texts[0]!,
        ...(options.weightBy && { weight: gaps.reduce((sum, one) => sum + one, 0) / gaps.length }),
        pair: { rule: 'gap', view: isList ? views : views[0]!, gap: isList ? gaps : gaps[0]!, ...weightBy },
      },
    },
  ];
};

function sumOf(row: Row, { response, index }: { response: Response; index: number }): number {
  const sum = response.logps_original;
  if (sum !== undefined) return sum;
  throw new RecordError(
    row,
    `responses[${index}].logps_original`,
    'a number (score --view original writes it)',
    'nothing',
  );
}

// Two views may give the same response.
function different<T extends { response: Response }>(candidates: readonly T[]): T[] {
  const seen = new Set<string>();
  return candidates.filter(({ response: { text } }) => !seen.has(text) && seen.add(text));
}

/** Views of the negatives, and their gaps below the chosen response. */
export class GapCounter {
  readonly #views = new Map<string, number>();
  readonly #gaps: number[] = [];

  add({ pair }: VprefRecord): void {
    for (const view of [pair!.view as string | string[]].flat())
      this.#views.set(view, (this.#views.get(view) ?? 0) + 1);
    this.#gaps.push(...[pair!.gap as number | number[]].flat());
  }

  /** "weak 12, strong 40; gaps 1.2 to 9.8, median 4.1"; undefined if there were none. */
  describe(): string | undefined {
    const sorted = Float64Array.from(this.#gaps).sort();
    if (sorted.length === 0) return undefined;
    const views = [...this.#views].sort((a, b) => b[1] - a[1]).map(([view, count]) => `${view} ${count}`);
    const nats = (place: number) => sorted[Math.floor(place)]!.toFixed(2);
    const last = sorted.length - 1;
    return `${views.join(', ')}; gaps ${nats(0)} to ${nats(last)} nats, median ${nats(last / 2)}`;
  }

  figures(): object {
    return { negatives_by_view: Object.fromEntries(this.#views) };
  }
}
