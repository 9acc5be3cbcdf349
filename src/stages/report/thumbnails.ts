// SPDX-License-Identifier: Apache-2.0
// Small pictures for the page, as data: URIs, so that the file needs nothing beside it.
import { encodePng, loadImage } from '../../pixels/decode.ts';
import { imageBytes } from '../../records/image-source.ts';
import type { ViewOp } from '../../records/record.ts';
import { replayView } from '../augment/make-view.ts';

/** An image, and the operations of a view that are to be applied to it. */
export interface Picture {
  source: string;
  ops?: readonly ViewOp[] | undefined;
}

const SIDE = 256;

/** A data: URI of the picture, at most SIDE wide and high, or undefined when it cannot be read. */
async function thumbnail({ source, ops }: Picture): Promise<string | undefined> {
  const { default: sharp } = await import('sharp');
  try {
    const bytes = ops === undefined ? imageBytes(source) : encodePng(replayView(await loadImage(source), ops));
    const small = await sharp(await bytes)
      .rotate()
      .resize(SIDE, SIDE, { fit: 'inside', withoutEnlargement: true })
      .webp({ quality: 75 })
      .toBuffer();
    return `data:image/webp;base64,${small.toString('base64')}`;
  } catch {
    return undefined;
  }
}

/** Pictures of the first `max` sources; the others, and those that cannot be read, stay null. */
export async function makeThumbnails(sources: readonly Picture[], max: number): Promise<(string | null)[]> {
  const pictures: (string | null)[] = new Array(sources.length).fill(null);
  let next = 0;
  const work = async () => {
    while (next < Math.min(max, sources.length)) {
      const index = next++;
      pictures[index] = (await thumbnail(sources[index]!)) ?? null;
    }
  };
  await Promise.all([work(), work()]);
  return pictures;
}
