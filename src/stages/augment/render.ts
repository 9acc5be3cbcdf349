// SPDX-License-Identifier: Apache-2.0
// Views without image files, for those who take files or bytes: a server.
import { encodePng, loadImage } from '../../pixels/decode.ts';
import { imageUri } from '../../records/image-source.ts';
import type { ViewInputs } from '../../records/view.ts';
import { replayView } from './make-view.ts';

/** The view's images; those that are recipes as data: URIs with the bytes that their files would have. Throws PixelError. */
export async function renderedImages({ images, ops }: ViewInputs): Promise<string[]> {
  if (ops === undefined) return images;
  return Promise.all(
    images.map(async (source, index) =>
      imageUri(await encodePng(replayView(await loadImage(source), ops[index] ?? []))),
    ),
  );
}
