// SPDX-License-Identifier: Apache-2.0
// Renders views without image files, for a server that takes files or bytes.
import { encodePng, loadImage } from '../../pixels/decode.ts';
import { imageUri } from '../../records/image-source.ts';
import type { ViewInputs } from '../../records/view.ts';
import { replayView } from './make-view.ts';

/** The view's images. Recipes become data: URIs with the bytes that image files would have. Throws PixelError. */
export async function renderedImages({ images, ops }: ViewInputs): Promise<string[]> {
  if (ops === undefined) return images;
  return Promise.all(
    images.map(async (source, index) =>
      imageUri(await encodePng(replayView(await loadImage(source), ops[index] ?? []))),
    ),
  );
}
