// SPDX-License-Identifier: Apache-2.0
// Counts of a run for the summary: questions, outcomes, cost.

import type { Usage } from '../../http/attempt.ts';
import { count } from '../../records/count.ts';
import type { Annotation, Outcome } from '../../records/record.ts';

export interface Tally {
  rows: number;
  /** Entries by outcome. */
  outcomes: Partial<Record<Outcome, number>>;
  /** All questions: asked, cached, and known without a call. */
  questions: number;
  cached: number;
  /** Requests sent, retries and repairs included. */
  requests: number;
  repaired: number;
  input_tokens: number;
  output_tokens: number;
  /** US dollars; undefined if the judge's price is unknown. */
  cost: number | undefined;
  /** For probability replies: the sum of the masses of all scores, and their number. */
  mass: { sum: number; n: number };
}

export function newTally(hasPrice: boolean): Tally {
  const counts = { rows: 0, questions: 0, cached: 0, requests: 0, repaired: 0, input_tokens: 0, output_tokens: 0 };
  return { ...counts, outcomes: {}, cost: hasPrice ? 0 : undefined, mass: { sum: 0, n: 0 } };
}

/** Adds one request's tokens. */
export function countUsage(tally: Tally, usage: Usage | undefined): void {
  tally.input_tokens += usage?.input_tokens ?? 0;
  tally.output_tokens += usage?.output_tokens ?? 0;
}

/** Adds the entry of one run. */
export function countEntry(tally: Tally, { outcome, mass, claims }: Annotation): void {
  tally.outcomes[outcome] = (tally.outcomes[outcome] ?? 0) + 1;
  const masses = [
    ...(mass ?? []).flatMap((one) => Object.values(one ?? {})),
    ...(claims ?? []).flat().map(({ mass }) => mass),
  ];
  tally.mass.sum += masses.reduce((sum, one) => sum + one, 0);
  tally.mass.n += masses.length;
}

/** A warning if the judge's probability lies mostly outside the allowed replies; else undefined. */
export function describeMass({ mass: { sum, n } }: Tally): string | undefined {
  if (n === 0 || sum / n >= LEAST_MASS) return undefined;
  return `the judge gives the guide's replies a probability of ${(sum / n).toPrecision(3)} on average, below ${LEAST_MASS}: it would mostly reply something else, so the grades are unreliable`;
}

const LEAST_MASS = 0.5;

/** "900 ok, 3 refused; 903 questions, 40 from the cache, 871 requests; 1.2M + 0.3M tokens, 4.5 USD". */
export function describeTally(tally: Tally): string {
  const outcomes = Object.entries(tally.outcomes).map(([outcome, number]) => `${number} ${outcome}`);
  const cost = tally.cost === undefined ? 'cost unknown (give --prices)' : `${tally.cost.toFixed(4)} USD`;
  const repaired = tally.repaired > 0 ? ` (${count(tally.repaired, 'repair')})` : '';
  return [
    outcomes.length > 0 ? outcomes.join(', ') : 'no runs',
    `${count(tally.questions, 'question')}, ${tally.cached} from the cache, ${count(tally.requests, 'request')}${repaired}`,
    `${tally.input_tokens} input and ${count(tally.output_tokens, 'output token')}, ${cost}`,
  ].join('; ');
}
