// SPDX-License-Identifier: Apache-2.0
// The size of a decoded image, from its header if that is sufficient.

import { imageHeader, mayBeTurned } from '../records/image-header.ts';
import { describeBytes, IMAGE_EXPECTED, imageKind, sourceName } from '../records/image-source.ts';
import { decodeImage, encodedImage } from './decode.ts';
import type { Size } from './image.ts';
import { PixelError } from './pixel-error.ts';

/** Width and height of the upright image at a path or in a data: URI. Throws PixelError. */
export async function imageSize(source: string): Promise<Size> {
  const bytes = Buffer.from(await encodedImage(source));
  if (imageKind(bytes) === undefined)
    throw new PixelError('image', sourceName(source), IMAGE_EXPECTED, describeBytes(bytes));
  const { width = 0, height = 0 } = mayBeTurned(bytes) ? {} : (imageHeader(bytes) ?? {});
  if (width > 0 && height > 0) return { width, height };
  const image = await decodeImage(bytes, sourceName(source));
  return { width: image.width, height: image.height };
}
