// SPDX-License-Identifier: Apache-2.0
// Thumbnails for the page, as data: URIs, so the file is self-contained.
import { encodePng, loadImage } from '../../pixels/decode.ts';
import { imageBytes } from '../../records/image-source.ts';
import type { ViewOp } from '../../records/record.ts';
import { replayView } from '../augment/make-view.ts';

/** An image, and the operations of a view to apply. */
export interface Picture {
  source: string;
  ops?: readonly ViewOp[] | undefined;
}

const SIDE = 256;

/** A data: URI of the thumbnail, at most SIDE wide and high, or undefined if the image is unreadable. */
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

/** Thumbnails of the first `max` sources; null for others and for unreadable images. */
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
