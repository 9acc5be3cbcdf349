// SPDX-License-Identifier: Apache-2.0
// From a decoded image to the pixels a vision tower takes, still 8-bit: the engine normalises.
import { cropImage, padImage } from './geometry.ts';
import type { Color, Image } from './image.ts';
import { PixelError } from './pixel-error.ts';
import { type ResizeFilter, resizeImage, shortestEdgeSize } from './resize.ts';

/** How a checkpoint's images are brought to size. */
export interface ModelInputPlan {
  /** `pad`: mean-colour square first, as the original LLaVA. `crop`: centre crop only, as Hugging Face's CLIP processor. */
  mode: 'pad' | 'crop';
  /** The shorter edge after resizing. */
  size: number;
  /** False: both edges are `size` after resizing, whatever the shape (a processor's size {height, width}). */
  keepsAspect?: false;
  /** What is cut from the middle afterwards. */
  cropSize: { width: number; height: number };
  /** Channel means of the normalisation, 0..1; the square's colour is 255 times them, cut to whole numbers. */
  imageMean: readonly [number, number, number];
  /** Default: bicubic. */
  filter?: ResizeFilter;
}

/** CLIP's means: the square's colour is (122, 116, 104). */
export const CLIP_MEAN: readonly [number, number, number] = [0.48145466, 0.4578275, 0.40821073];
export const CLIP_STD: readonly [number, number, number] = [0.26862954, 0.26130258, 0.27577711];

/** The image at cropSize. Source: LLaVA's expand2square; CLIPImageProcessor on PIL images. */
export function modelInput(image: Image, plan: ModelInputPlan): Image {
  const source = plan.mode === 'pad' ? padToSquare(image, meanColor(plan.imageMean)) : image;
  const square = { width: plan.size, height: plan.size };
  const { width, height } =
    plan.keepsAspect === false ? square : shortestEdgeSize(source.width, source.height, plan.size);
  return centerCrop(resizeImage(source, width, height, plan.filter ?? 'bicubic'), plan.cropSize);
}

const MAX_SIDE = 20_000;

/** The image in the middle of a square of its longer side. */
function padToSquare(image: Image, color: Color): Image {
  const side = Math.max(image.width, image.height);
  if (side > MAX_SIDE)
    throw new PixelError(
      'image',
      'pad',
      `an image of at most ${MAX_SIDE} pixels a side to make square`,
      `${image.width} x ${image.height}`,
    );
  const left = Math.floor((side - image.width) / 2);
  const top = Math.floor((side - image.height) / 2);
  const border = { left, top, right: side - image.width - left, bottom: side - image.height - top };
  return padImage(image, border, 'constant', color);
}

function meanColor(mean: readonly [number, number, number]): Color {
  return [Math.trunc(mean[0] * 255), Math.trunc(mean[1] * 255), Math.trunc(mean[2] * 255)];
}

// Where the image is smaller than the crop, black is added around it.
function centerCrop(image: Image, { width, height }: { width: number; height: number }): Image {
  if (image.width === width && image.height === height) return image;
  const left = Math.floor((image.width - width) / 2);
  const top = Math.floor((image.height - height) / 2);
  return cropImage(image, left, top, width, height);
}
