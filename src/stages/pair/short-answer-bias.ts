// SPDX-License-Identifier: Apache-2.0
// Short-answer bias: a short answer is more frequent among chosen than among rejected responses. Training then learns the word, not the image.
import type { VprefRecord } from '../../records/record.ts';

/** Counts of a response among chosen and rejected. */
interface Tally {
  chosen: number;
  rejected: number;
}

export interface ShortAnswerBias extends Tally {
  answer: string;
  /** Shares among chosen and rejected responses. */
  chosenShare: number;
  rejectedShare: number;
}

const YES_OR_NO = /^\W{0,3}(yes|no)\b/i;
const MAX_SHORT_LENGTH = 24;
/** Maximum number of distinct short answers; later ones are too rare to be a bias. */
const MAX_ANSWERS = 4096;
/** A bias is a difference of shares above this and above 3 standard errors. */
const MIN_DIFFERENCE = 0.05;
const MIN_DEVIATIONS = 3;

/** "yes" or "no" for a response that begins so; a short response in lower case without full stop; else undefined. */
export function shortAnswer(text: string): string | undefined {
  const start = YES_OR_NO.exec(text);
  if (start !== null) return start[1]!.toLowerCase();
  if (text.length > MAX_SHORT_LENGTH) return undefined;
  return text.trim().replace(/[.!]$/, '').toLowerCase() || undefined;
}

/** Counts the pairs that pass through. */
export class ShortAnswerCounter {
  #pairs = 0;
  #rejected = 0;
  readonly #tallies = new Map<string, Tally>();

  add({ chosen, rejected }: VprefRecord): void {
    if (chosen === undefined || rejected === undefined) return;
    this.#pairs += 1;
    this.#count(chosen, 'chosen');
    if (typeof rejected === 'string') this.#countRejected(rejected);
    else for (const text of rejected) this.#countRejected(text);
  }

  /** Short answers chosen more often than rejected, strongest first. */
  biases(): ShortAnswerBias[] {
    const biases: ShortAnswerBias[] = [];
    for (const [answer, { chosen, rejected }] of this.#tallies) {
      const [chosenShare, rejectedShare] = [chosen / this.#pairs, rejected / this.#rejected];
      const deviation = Math.sqrt(chosen + rejected);
      const isBiased = chosenShare - rejectedShare > MIN_DIFFERENCE && chosen - rejected > MIN_DEVIATIONS * deviation;
      if (isBiased) biases.push({ answer, chosen, rejected, chosenShare, rejectedShare });
    }
    return biases.sort((a, b) => b.chosen - b.rejected - (a.chosen - a.rejected));
  }

  #countRejected(text: string): void {
    this.#rejected += 1;
    this.#count(text, 'rejected');
  }

  #count(text: string, side: keyof Tally): void {
    const answer = shortAnswer(text);
    if (answer === undefined) return;
    let tally = this.#tallies.get(answer);
    if (tally === undefined) {
      if (this.#tallies.size === MAX_ANSWERS) return;
      tally = { chosen: 0, rejected: 0 };
      this.#tallies.set(answer, tally);
    }
    tally[side] += 1;
  }
}

/** "short-answer bias to "yes": 62 % of chosen, 31 % of rejected responses" */
export function describeBias({ answer, chosenShare, rejectedShare }: ShortAnswerBias): string {
  const percent = (share: number) => `${(100 * share).toFixed(1)} %`;
  return `short-answer bias to ${JSON.stringify(answer)}: ${percent(chosenShare)} of chosen, ${percent(rejectedShare)} of rejected responses`;
}
