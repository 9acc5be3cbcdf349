// SPDX-License-Identifier: Apache-2.0
// Pairs: the first of each file, with their images.
import type { VprefRecord } from '../../records/record.ts';
import { hasPixelOps, type ViewInputs, viewImages } from '../../records/view.ts';
import { pairDoubts } from './claims.ts';
import type { PairItem, RecordSection } from './data.ts';
import type { ImageList } from './images.ts';
import { isPair } from './pair-record.ts';
import { promptText } from './prompt-text.ts';

export class PairSection implements RecordSection<PairItem[]> {
  readonly #maxPairs: number;
  readonly #images: ImageList;
  readonly #pairs: PairItem[] = [];
  numLeftOut = 0;

  constructor(maxPairs: number, images: ImageList) {
    this.#maxPairs = maxPairs;
    this.#images = images;
  }

  take(run: string, record: VprefRecord): void {
    if (!isPair(record)) return;
    if (this.#pairs.length < this.#maxPairs) this.#pairs.push(this.#pairOf(run, record));
    else this.numLeftOut += 1;
  }

  data(): PairItem[] {
    return this.#pairs;
  }

  #pairOf(run: string, record: VprefRecord): PairItem {
    const ok = record.annotations?.findLast(({ outcome }) => outcome === 'ok');
    const image = this.#images.place.bind(this.#images);
    const doubts = pairDoubts(record);
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
      ...(doubts.some((list) => list.length > 0) && { doubtfulClaims: doubts }),
      ...(ok?.scores && { scores: ok.scores, responses: (record.responses ?? []).map(({ text }) => text) }),
    };
  }
}

/** The images of the rejected response: image-side negatives, else the first view if it changes pixels. */
function rejectedPictures(record: VprefRecord): Pick<ViewInputs, 'images' | 'ops'> {
  const { rejected_images: negatives, views: [view] = [], images = [] } = record;
  if (negatives !== undefined) return { images: negatives.flat() };
  const isChanged = view?.images !== undefined || (view !== undefined && hasPixelOps(view));
  return isChanged ? viewImages(view, images) : { images: [] };
}

function describeOp({ op, ...parameters }: { op: string; [name: string]: unknown }): string {
  // The seed is in the record and means nothing to a reader.
  const shown = Object.entries(parameters).filter(
    ([name, value]) => name !== 'seed' && ['number', 'string', 'boolean'].includes(typeof value),
  );
  const short = (value: unknown) =>
    typeof value === 'number' && !Number.isInteger(value) ? Number(value.toPrecision(4)) : value;
  const text = shown.map(([name, value]) => `${name}=${short(value)}`);
  return text.length > 0 ? `${op} (${text.join(', ')})` : op;
}
