// SPDX-License-Identifier: Apache-2.0
// Pairs: the first of each file, for reading one by one, and the pictures that they show.
import { DOUBT, isDoubtful } from '../../records/claim.ts';
import type { ViewOp, VprefRecord } from '../../records/record.ts';
import { hasPixelOps, type ViewInputs, viewImages } from '../../records/view.ts';
import type { PairItem, RecordSection } from './data.ts';
import type { Picture } from './thumbnails.ts';

export interface PairData {
  pairs: PairItem[];
  images: Picture[];
  numPairsLeftOut: number;
}

export class PairSection implements RecordSection<PairData> {
  readonly #maxPairs: number;
  readonly #pairs: PairItem[] = [];
  /** By image and operations. */
  readonly #images = new Map<string, { place: number; picture: Picture }>();
  #numLeftOut = 0;

  constructor(maxPairs: number) {
    this.#maxPairs = maxPairs;
  }

  take(run: string, record: VprefRecord): void {
    if (!isPair(record)) return;
    if (this.#pairs.length < this.#maxPairs) this.#pairs.push(this.#pairOf(run, record));
    else this.#numLeftOut += 1;
  }

  data(): PairData {
    return {
      pairs: this.#pairs,
      images: [...this.#images.values()].map(({ picture }) => picture),
      numPairsLeftOut: this.#numLeftOut,
    };
  }

  #pairOf(run: string, record: VprefRecord): PairItem {
    const ok = record.annotations?.findLast(({ outcome }) => outcome === 'ok');
    const image = (source: string, ops?: readonly ViewOp[]) => {
      const key = JSON.stringify([source, ops]);
      const known = this.#images.get(key) ?? { place: this.#images.size, picture: { source, ops } };
      this.#images.set(key, known);
      return known.place;
    };
    const claims = doubtfulClaims(record);
    const view = record.views?.[0];
    const shown = rejectedPictures(record);
    return {
      id: record.id,
      run,
      prompt: promptText(record),
      chosen: record.chosen!,
      rejected: [record.rejected!].flat(),
      ...(record.chosen_score !== undefined && { chosenScore: record.chosen_score }),
      ...(record.rejected_score !== undefined && { rejectedScore: record.rejected_score }),
      rule: record.pair?.rule ?? '',
      view: view === undefined ? '' : view.ops.map((op) => describeOp(op)).join(' + '),
      images: (record.images ?? []).map((source) => image(source)),
      rejectedImages: shown.images.map((source, index) => image(source, shown.ops?.[index])),
      ...(claims.some((list) => list.length > 0) && { doubtfulClaims: claims }),
      ...(ok?.scores && { scores: ok.scores, responses: (record.responses ?? []).map(({ text }) => text) }),
    };
  }
}

/** Of chosen and each rejected answer, under the last annotation that has claims. An answer is known by its text: a pair may have been turned round. */
function doubtfulClaims({ annotations = [], responses = [], chosen, rejected, pair }: VprefRecord) {
  const doubt = typeof pair?.doubt === 'number' ? pair.doubt : DOUBT;
  const entry = annotations.findLast(({ outcome, claims }) => outcome === 'ok' && claims !== undefined);
  return [chosen!, ...[rejected!].flat()].map((answer) => {
    const index = responses.findIndex(({ text }) => text === answer);
    const claims = entry?.claims?.[index] ?? [];
    return claims.filter((claim) => isDoubtful(claim, doubt)).map(({ text, p_yes: pYes }) => ({ text, pYes }));
  });
}

export function isPair({ chosen, rejected }: VprefRecord): boolean {
  return chosen !== undefined && rejected !== undefined;
}

/** What the rejected answer was given to: image-side negatives, else the first view where it changes pixels. */
function rejectedPictures(record: VprefRecord): Pick<ViewInputs, 'images' | 'ops'> {
  const { rejected_images: negatives, views: [view] = [], images = [] } = record;
  if (negatives !== undefined) return { images: negatives.flat() };
  const isChanged = view?.images !== undefined || (view !== undefined && hasPixelOps(view));
  return isChanged ? viewImages(view, images) : { images: [] };
}

function promptText({ prompt }: VprefRecord): string {
  if (typeof prompt === 'string') return prompt;
  return prompt
    .map(({ role, content }) => {
      const text =
        typeof content === 'string'
          ? content
          : (content ?? []).map((part) => (part.type === 'text' ? part.text : '<image>')).join('');
      return `${role}: ${text}`;
    })
    .join('\n');
}

function describeOp({ op, ...parameters }: { op: string; [name: string]: unknown }): string {
  // The seed is in the record; to a reader it is sixteen digits of noise.
  const shown = Object.entries(parameters).filter(
    ([name, value]) => name !== 'seed' && ['number', 'string', 'boolean'].includes(typeof value),
  );
  const short = (value: unknown) =>
    typeof value === 'number' && !Number.isInteger(value) ? Number(value.toPrecision(4)) : value;
  const text = shown.map(([name, value]) => `${name}=${short(value)}`);
  return text.length > 0 ? `${op} (${text.join(', ')})` : op;
}
