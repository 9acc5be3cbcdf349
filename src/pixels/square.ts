// SPDX-License-Identifier: Apache-2.0
// Square images: padded with one colour, or center-cropped; and CLIP's constants, whose means are that colour.
import { cropImage, padImage } from './geometry.ts';
import type { Color, Image } from './image.ts';
import { PixelError } from './pixel-error.ts';

/** CLIP's means: the square's colour is (122, 116, 104). */
export const CLIP_MEAN: readonly [number, number, number] = [0.48145466, 0.4578275, 0.40821073];
export const CLIP_STD: readonly [number, number, number] = [0.26862954, 0.26130258, 0.27577711];

const MAX_SIDE = 20_000;

/** The image centered in a square of its longer side, in the colour of a normalisation's means. Source: LLaVA's expand2square. */
export function padToSquare(image: Image, mean: readonly [number, number, number]): Image {
  const side = Math.max(image.width, image.height);
  if (side > MAX_SIDE)
    throw new PixelError(
      'image',
      'pad',
      `an image of at most ${MAX_SIDE} pixels per side, for square padding`,
      `${image.width} x ${image.height}`,
    );
  const left = Math.floor((side - image.width) / 2);
  const top = Math.floor((side - image.height) / 2);
  const border = { left, top, right: side - image.width - left, bottom: side - image.height - top };
  return padImage(image, border, 'constant', meanColor(mean));
}

// 255 times the means, rounded down.
function meanColor(mean: readonly [number, number, number]): Color {
  return [Math.trunc(mean[0] * 255), Math.trunc(mean[1] * 255), Math.trunc(mean[2] * 255)];
}

/** A center crop; a smaller image is padded with black. */
export function centerCrop(image: Image, { width, height }: { width: number; height: number }): Image {
  if (image.width === width && image.height === height) return image;
  const left = Math.floor((image.width - width) / 2);
  const top = Math.floor((image.height - height) / 2);
  return cropImage(image, left, top, width, height);
}
