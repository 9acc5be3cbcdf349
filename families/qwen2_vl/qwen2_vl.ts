// SPDX-License-Identifier: Apache-2.0
// Qwen2-VL: every image keeps its shape; both sides are multiples of patch x merge, the area is within limits.
import type { Image } from '../../src/pixels/image.ts';
import { PixelError } from '../../src/pixels/pixel-error.ts';
import { type ResizeFilter, resizeImage } from '../../src/pixels/resize.ts';
import { CLIP_MEAN, CLIP_STD } from '../../src/pixels/square.ts';
import type { CheckpointFiles, Family, ImagePlan, Size, VisionFamily } from '../family.ts';
import { demandEqual, imageProcessor, type ProcessorSettings, visionConfig } from '../processor-settings.ts';

export interface NativePlan extends ImagePlan {
  mode: 'native';
  /** Both sides are multiples of this. */
  factor: number;
  minPixels: number;
  maxPixels: number;
  filter: ResizeFilter;
}

/** The largest aspect ratio that the family accepts. */
const MAX_ASPECT = 200;

/** The image side of a Qwen family; `patchSize`: the config's default if the file has none. */
export function qwenVision(patchSize: number): VisionFamily<NativePlan> {
  return {
    imageToken: '<|image_pad|>',
    videoToken: '<|video_pad|>',
    imageMark: '<|vision_start|><|image_pad|><|vision_end|>',
    imagesOnOwnLine: false,
    imageModes: ['native'],
    hasPixelLimits: true,
    readPlan: (files) => readNativePlan(files, patchSize),
    choosePlan: (plan, { maxPixels = plan.maxPixels, minPixels = plan.minPixels }) => ({
      ...plan,
      maxPixels,
      minPixels,
    }),
    cropSizes: (size, plan) => [nativeSize(size, plan)],
    crops: (image, plan) => [resized(image, plan)],
    expansion: () => '<|image_pad|>',
    describe: ({ factor, minPixels, maxPixels }) =>
      `native shape, sides in steps of ${factor}, ${minPixels} to ${maxPixels} pixels (--min-pixels, --max-pixels)`,
  };
}

export const qwen2Vl: Family = { modelTypes: ['qwen2_vl'], vision: qwenVision(14) };

/** The size after resizing. Throws PixelError for a too extreme aspect ratio. Source: smart_resize of Qwen2VLImageProcessor. */
export function nativeSize({ height, width }: Size, { factor, minPixels, maxPixels }: NativePlan): Size {
  if (Math.max(height, width) / Math.min(height, width) > MAX_ASPECT)
    throw new PixelError('image', 'native', `sides of at most ${MAX_ASPECT} : 1`, `${width} x ${height}`);
  const nearest = {
    height: roundHalfEven(height / factor) * factor,
    width: roundHalfEven(width / factor) * factor,
  };
  const area = nearest.height * nearest.width;
  if (area > maxPixels) {
    const beta = Math.sqrt((height * width) / maxPixels);
    const below = (side: number) => Math.max(factor, Math.floor(side / beta / factor) * factor);
    return { height: below(height), width: below(width) };
  }
  if (area < minPixels) {
    const beta = Math.sqrt(minPixels / (height * width));
    const above = (side: number) => Math.ceil((side * beta) / factor) * factor;
    return { height: above(height), width: above(width) };
  }
  return nearest;
}

function resized(image: Image, plan: NativePlan): Image {
  const { height, width } = nativeSize(image, plan);
  return resizeImage(image, width, height, plan.filter);
}

const PROCESSORS = /^Qwen2(_5_)?VLImageProcessor(Fast|Pil)?$/;
/** The processor's class defaults. */
const DEFAULTS = { patchSize: 14, mergeSize: 2, temporalPatchSize: 2, minPixels: 3136, maxPixels: 1_003_520 };

function readNativePlan(files: CheckpointFiles, patchSize: number): NativePlan {
  const settings = imageProcessor(files, PROCESSORS, 'Qwen2VLImageProcessor');
  settings.checkFlags([]);
  const vision = visionConfig(files);
  const patch = vision.count('patch_size', patchSize);
  const merge = vision.count('spatial_merge_size', 2);
  const sizes: [string, number, number, string][] = [
    ['patch_size', patch, DEFAULTS.patchSize, 'patch_size'],
    ['merge_size', merge, DEFAULTS.mergeSize, 'spatial_merge_size'],
    ['temporal_patch_size', vision.count('temporal_patch_size', 2), DEFAULTS.temporalPatchSize, 'temporal_patch_size'],
  ];
  for (const [key, value, otherwise, source] of sizes) {
    demandEqual(settings, key, value, `vision_config.${source}`);
    if (settings.raw(key) === undefined && value !== otherwise)
      settings.fail(key, `${value} (vision_config.${source})`);
  }
  const limits = pixelLimits(settings);
  return {
    mode: 'native',
    normalisation: settings.normalisation(CLIP_MEAN, CLIP_STD),
    factor: patch * merge,
    ...limits,
    filter: settings.filter('bicubic'),
  };
}

// min_pixels and max_pixels override size, whose edges are pixel counts here.
function pixelLimits(settings: ProcessorSettings): { minPixels: number; maxPixels: number } {
  const size = settings.object('size');
  const known = ['shortest_edge', 'longest_edge', 'min_pixels', 'max_pixels'];
  const other = size.keys().find((key) => !known.includes(key));
  if (other !== undefined) size.fail(other, 'shortest_edge and longest_edge alone');
  const limit = (key: 'min_pixels' | 'max_pixels', edge: string, otherwise: number): number => {
    if (settings.raw(key) !== undefined) return settings.count(key);
    if (settings.raw('size') === undefined) return otherwise;
    return size.raw(edge) === undefined && size.raw(key) !== undefined ? size.count(key) : size.count(edge);
  };
  const minPixels = limit('min_pixels', 'shortest_edge', DEFAULTS.minPixels);
  const maxPixels = limit('max_pixels', 'longest_edge', DEFAULTS.maxPixels);
  if (minPixels > maxPixels)
    settings.fail(
      settings.raw('min_pixels') === undefined ? 'size' : 'min_pixels',
      `at most max_pixels (${maxPixels})`,
    );
  return { minPixels, maxPixels };
}

function roundHalfEven(value: number): number {
  const below = Math.floor(value);
  const rest = value - below;
  return rest < 0.5 || (rest === 0.5 && below % 2 === 0) ? below : below + 1;
}
