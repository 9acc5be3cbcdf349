// SPDX-License-Identifier: Apache-2.0
// LLaVA-NeXT (1.6): the whole image squeezed to a square, then tiles of the image at the best resolution of a list.
import { cropImage } from '../../src/pixels/geometry.ts';
import type { Image } from '../../src/pixels/image.ts';
import { type ResizeFilter, resizeImage } from '../../src/pixels/resize.ts';
import { CLIP_MEAN, CLIP_STD } from '../../src/pixels/square.ts';
import type { CheckpointFiles, Family, ImagePlan, Size, VisionFamily } from '../family.ts';
import {
  demandEqual,
  imageProcessor,
  ProcessorSettings,
  processorConfig,
  visionConfig,
} from '../processor-settings.ts';

interface PinpointPlan extends ImagePlan {
  mode: 'tiles';
  /** A crop's sides. */
  side: number;
  /** Resolutions to choose from: height, width. */
  pinpoints: readonly (readonly [number, number])[];
  filter: ResizeFilter;
}

const vision: VisionFamily<PinpointPlan> = {
  imageToken: '<image>',
  imageMark: '<image>',
  imagesOnOwnLine: true,
  imageModes: ['tiles'],
  hasPixelLimits: false,
  readPlan,
  choosePlan: (plan) => plan,
  cropSizes(size, plan) {
    const best = bestResolution(size, plan.pinpoints);
    const numCrops = 1 + (best.height / plan.side) * (best.width / plan.side);
    return Array.from({ length: numCrops }, () => ({ height: plan.side, width: plan.side }));
  },
  crops,
  expansion: () => '<image>',
  describe: ({ side, pinpoints }) =>
    `tiles of ${side} x ${side} at the best of ${pinpoints.map(([high, wide]) => `${wide} x ${high}`).join(', ')}, and the whole picture as one`,
};

export const llavaNext: Family = { modelTypes: ['llava_next'], vision };

/** The resolution that keeps most of the image, then the one with least padding, then the first. Source: select_best_resolution of transformers. */
export function bestResolution({ height, width }: Size, pinpoints: PinpointPlan['pinpoints']): Size {
  let best = { height: 0, width: 0, effective: 0, wasted: Number.POSITIVE_INFINITY };
  for (const [high, wide] of pinpoints) {
    const scale = Math.min(wide / width, high / height);
    const effective = Math.min(Math.trunc(width * scale) * Math.trunc(height * scale), width * height);
    const wasted = wide * high - effective;
    const isBetter = effective > best.effective || (effective === best.effective && wasted < best.wasted);
    if (isBetter) best = { height: high, width: wide, effective, wasted };
  }
  return { height: best.height, width: best.width };
}

// Keep the aspect ratio, and center the image on black.
function crops(image: Image, { side, pinpoints, filter }: PinpointPlan): Image[] {
  const best = bestResolution(image, pinpoints);
  const inner = sizeWithin(image, best);
  const left = Math.floor((best.width - inner.width) / 2);
  const top = Math.floor((best.height - inner.height) / 2);
  const scaled = resizeImage(image, inner.width, inner.height, filter);
  const columns = best.width / side;
  const parts = Array.from({ length: (best.height / side) * columns }, (_, index) =>
    cropImage(scaled, (index % columns) * side - left, Math.floor(index / columns) * side - top, side, side),
  );
  return [resizeImage(image, side, side, filter), ...parts];
}

function sizeWithin({ height, width }: Size, best: Size): Size {
  const [scaleWidth, scaleHeight] = [best.width / width, best.height / height];
  return scaleWidth < scaleHeight
    ? { width: best.width, height: Math.min(Math.ceil(height * scaleWidth), best.height) }
    : { height: best.height, width: Math.min(Math.ceil(width * scaleHeight), best.width) };
}

const PROCESSORS = /^LlavaNextImageProcessor(Fast|Pil)?$/;
const DEFAULT_PINPOINTS = [
  [336, 672],
  [672, 336],
  [672, 672],
  [1008, 336],
  [336, 1008],
];

function readPlan(files: CheckpointFiles): PinpointPlan {
  const settings = imageProcessor(files, PROCESSORS, 'LlavaNextImageProcessor');
  // A centre crop does not change a crop of the tower's size. do_pad only adds crops that the model drops.
  settings.checkFlags(['do_center_crop', 'do_pad']);
  demandEqual(settings, 'aspect_ratio_setting', 'anyres', 'the family');
  const tower = visionConfig(files);
  const given = files.config.vision_config !== undefined;
  const side = tower.count('image_size', given ? 224 : 336);
  for (const key of ['size', 'crop_size']) checkSide(settings, key, side);
  const processor = processorConfig(files);
  demandEqual(processor, 'patch_size', tower.count('patch_size', given ? 32 : 14), 'vision_config.patch_size');
  const strategy = String(files.config.vision_feature_select_strategy ?? 'default');
  demandEqual(processor, 'vision_feature_select_strategy', strategy, 'config.json');
  return {
    mode: 'tiles',
    normalisation: settings.normalisation(CLIP_MEAN, CLIP_STD),
    side,
    pinpoints: readPinpoints(files, settings, side),
    filter: settings.filter('bicubic'),
  };
}

// A number, {shortest_edge} or {height, width}; the class default 224 if absent.
function checkSide(settings: ProcessorSettings, key: string, side: number): void {
  const value = settings.raw(key) ?? 224;
  const {
    shortest_edge: edge,
    height = edge,
    width = edge,
    ...others
  } = typeof value === 'number' ? { shortest_edge: value } : (value as Partial<Record<string, unknown>>);
  const isOnlyThis = Object.values(others).every((other) => other === null);
  if (height !== side || width !== side || !isOnlyThis) settings.fail(key, `${side} (vision_config.image_size)`);
}

// Both files have the list and must agree: the processor splits by it, the model merges by it.
function readPinpoints(files: CheckpointFiles, settings: ProcessorSettings, side: number): PinpointPlan['pinpoints'] {
  const key = 'image_grid_pinpoints';
  const model = new ProcessorSettings(`${files.dir}/config.json`, files.config);
  const list = settings.raw(key) ?? DEFAULT_PINPOINTS;
  const isMultiple = (one: unknown) => Number.isInteger(one) && (one as number) > 0 && (one as number) % side === 0;
  const isPair = (pair: unknown) => Array.isArray(pair) && pair.length === 2 && pair.every(isMultiple);
  if (!Array.isArray(list) || list.length === 0 || !list.every(isPair))
    settings.fail(key, `[height, width] pairs, multiples of ${side}`);
  if (JSON.stringify(list) !== JSON.stringify(model.raw(key) ?? DEFAULT_PINPOINTS))
    model.fail(key, `${JSON.stringify(list)} (from the image processor)`);
  return list as [number, number][];
}
