// SPDX-License-Identifier: Apache-2.0
// Claims of responses that a judge doubts (guide claims): shown beside the responses of pairs and of unpaired records.
import { DOUBT, isDoubtful } from '../../records/claim.ts';
import type { VprefRecord } from '../../records/record.ts';
import type { CheckedAnswers, DoubtfulClaim, RecordSection } from './data.ts';
import type { ImageList } from './images.ts';
import { isPair } from './pair-record.ts';
import { promptText } from './prompt-text.ts';

export class ClaimSection implements RecordSection<CheckedAnswers[]> {
  readonly #max: number;
  readonly #images: ImageList;
  readonly #items: CheckedAnswers[] = [];
  numLeftOut = 0;

  constructor(max: number, images: ImageList) {
    this.#max = max;
    this.#images = images;
  }

  take(run: string, record: VprefRecord): void {
    const entry = checked(record);
    if (entry === undefined || isPair(record)) return;
    if (this.#items.length >= this.#max) {
      this.numLeftOut += 1;
      return;
    }
    const { id, images = [], responses = [] } = record;
    const answers = responses.map(({ text, view, label }, index) => ({
      text,
      name: [label, view].filter((part) => part !== undefined).join(', '),
      numClaims: entry.claims![index]?.length ?? 0,
      doubtful: doubtfulOf(entry.claims![index] ?? [], DOUBT),
    }));
    const prompt = promptText(record);
    this.#items.push({ id, run, prompt, images: images.map((source) => this.#images.place(source)), answers });
  }

  data(): CheckedAnswers[] {
    return this.#items;
  }
}

/** Claims of chosen and of each rejected response. Responses are matched by text, because a pair may have been swapped. */
export function pairDoubts(record: VprefRecord): DoubtfulClaim[][] {
  const { responses = [], chosen, rejected, pair } = record;
  const doubt = typeof pair?.doubt === 'number' ? pair.doubt : DOUBT;
  const entry = checked(record);
  return [chosen!, ...[rejected!].flat()].map((answer) => {
    const index = responses.findIndex(({ text }) => text === answer);
    return doubtfulOf(entry?.claims?.[index] ?? [], doubt);
  });
}

/** The last annotation with claims. */
function checked({ annotations = [] }: VprefRecord) {
  return annotations.findLast(({ outcome, claims }) => outcome === 'ok' && claims !== undefined);
}

function doubtfulOf(claims: readonly { text: string; p_yes: number; mass: number }[], doubt: number): DoubtfulClaim[] {
  return claims.filter((claim) => isDoubtful(claim, doubt)).map(({ text, p_yes: pYes }) => ({ text, pYes }));
}
