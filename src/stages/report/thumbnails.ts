// SPDX-License-Identifier: Apache-2.0
// Small pictures for the page, as data: URIs, so that the file needs nothing beside it.
import { imageBytes } from '../../records/image-source.ts';

const SIDE = 256;

/** A data: URI of the picture, at most SIDE wide and high, or undefined when it cannot be read. */
async function thumbnail(source: string): Promise<string | undefined> {
  const { default: sharp } = await import('sharp');
  try {
    const small = await sharp(await imageBytes(source))
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
export async function makeThumbnails(sources: readonly string[], max: number): Promise<(string | null)[]> {
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
