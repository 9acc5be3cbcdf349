// SPDX-License-Identifier: Apache-2.0
// LLaVA-1.5: every image at one square size, padded as in the original training, or cropped as by Hugging Face's processor.
import type { Image } from '../../src/pixels/image.ts';
import { type ResizeFilter, resizeImage, shortestEdgeSize } from '../../src/pixels/resize.ts';
import { CLIP_MEAN, CLIP_STD, centerCrop, padToSquare } from '../../src/pixels/square.ts';
import type { CheckpointFiles, Family, ImagePlan, JsonObject, Normalisation, VisionFamily } from '../family.ts';
import { imageProcessor, type ProcessorSettings, visionConfig } from '../processor-settings.ts';

/** How a checkpoint's images are resized. */
export interface SquarePlan extends ImagePlan {
  /** `pad`: mean-colour square first, as the original LLaVA. `crop`: centre crop only, as Hugging Face's CLIP processor. */
  mode: 'pad' | 'crop';
  /** The shorter edge after resizing. */
  size: number;
  /** False: both edges are `size` after resizing (a processor's size {height, width}). */
  keepsAspect?: false;
  /** Size of the center crop. */
  cropSize: { width: number; height: number };
  filter: ResizeFilter;
  /** image_mean, the colour of the square, even without normalisation. */
  imageMean: readonly [number, number, number];
  /** The processor pads to a mean-colour square itself, so crop equals pad. */
  padsFirst: boolean;
}

const vision: VisionFamily<SquarePlan> = {
  imageToken: '<image>',
  imageMark: '<image>',
  imagesOnOwnLine: true,
  imageModes: ['pad', 'crop'],
  modeNote:
    "image mode pad: a mean-colour square, as LLaVA-1.5 was trained (--image-mode crop is what Hugging Face's processor does)",
  hasOneSize: true,
  hasPixelLimits: false,
  readPlan,
  choosePlan: (plan, { mode = plan.mode }) => ({ ...plan, mode: mode as SquarePlan['mode'] }),
  cropSizes: (_, { cropSize }) => [cropSize],
  crops: (image, plan) => [squareInput(image, plan)],
  expansion: () => '<image>',
  describe: ({ cropSize: { width, height }, mode }) =>
    `${width} x ${height}, image mode ${mode}${mode === 'pad' ? ' unless --image-mode crop' : ''}`,
  // Keep the form of `ref.inputs` stable; add a normalisation only if it is not CLIP's.
  identity({ normalisation, imageMean, ...plan }) {
    const { size, cropSize, filter, padsFirst, keepsAspect } = plan;
    const isClip = isEqual(normalisation, { mean: imageMean, std: CLIP_STD, scale: 1 / 255 });
    return {
      size,
      cropSize,
      imageMean,
      filter,
      padsFirst,
      ...(keepsAspect === false && { keepsAspect }),
      ...(!isClip && { normalisation }),
    };
  },
};

const isEqual = (a: Normalisation, b: Normalisation) =>
  [a.mean, a.std, a.scale].flat().join() === [b.mean, b.std, b.scale].flat().join();

export const llava: Family = { modelTypes: ['llava'], vision };

/** The image at cropSize. Source: LLaVA's expand2square; CLIPImageProcessor on PIL images. */
export function squareInput(image: Image, plan: SquarePlan): Image {
  const { mode, size, cropSize, filter, padsFirst, keepsAspect, imageMean } = plan;
  const source = mode === 'pad' || padsFirst ? padToSquare(image, imageMean) : image;
  const { width, height } =
    keepsAspect === false ? { width: size, height: size } : shortestEdgeSize(source.width, source.height, size);
  return centerCrop(resizeImage(source, width, height, filter), cropSize);
}

const PROCESSORS = /^(CLIP|Llava)(ImageProcessor(Fast|Pil)?|FeatureExtractor)$/;

// A checkpoint without processor files gets CLIP's settings at the tower's size.
function readPlan(files: CheckpointFiles): SquarePlan {
  const { imageProcessor: own = {}, config } = files;
  const settings = imageProcessor(
    { ...files, imageProcessor: own },
    PROCESSORS,
    'CLIPImageProcessor or LlavaImageProcessor',
  );
  settings.checkFlags(['do_center_crop', 'do_pad']);
  const side = visionConfig(files).count('image_size', config.vision_config === undefined ? 336 : 224);
  const padsFirst = settings.boolean('do_pad', false);
  if (padsFirst && !/^Llava/.test(String(processorType(own)))) settings.fail('do_pad', 'false');
  const isExact = checkSizes(settings, side, padsFirst);
  return {
    mode: 'pad',
    normalisation: settings.normalisation(CLIP_MEAN, CLIP_STD),
    imageMean: settings.three('image_mean', CLIP_MEAN),
    size: side,
    cropSize: { width: side, height: side },
    filter: settings.filter('bicubic'),
    padsFirst,
    ...(isExact && { keepsAspect: false }),
  };
}

const processorType = (own: JsonObject) => own.image_processor_type ?? own.feature_extractor_type;

/** Whether both edges are given. Throws unless all equal the tower's size. */
function checkSizes(settings: ProcessorSettings, side: number, padsFirst: boolean): boolean {
  const crops = settings.boolean('do_center_crop', true);
  const exact = sidesOf(settings.raw('size'));
  const size = exact?.height ?? edgeOf(settings.raw('size'), side);
  if (size !== side || (exact !== undefined && exact.width !== side))
    settings.fail('size', `${side} (vision_config.image_size)`);
  if (crops && cropOf(settings.raw('crop_size'), side) !== side)
    settings.fail('crop_size', `${side} (vision_config.image_size)`);
  // Without the crop an image that is not square keeps its shape.
  if (!crops && exact === undefined && !padsFirst) settings.fail('do_center_crop', 'true');
  return exact !== undefined;
}

type Sides = Partial<Record<string, unknown>>;

/** {height, width}: an image is resized to exactly these. */
function sidesOf(value: unknown): { height: number; width: number } | undefined {
  const { height, width } = (value ?? {}) as Sides;
  return typeof height === 'number' && typeof width === 'number' ? { height, width } : undefined;
}

/** The shorter edge: a number, or only {shortest_edge}; else NaN. */
function edgeOf(value: unknown, otherwise: number): number {
  if (value === undefined) return otherwise;
  if (typeof value === 'number') return value;
  const { shortest_edge: edge, ...others } = value as Sides;
  return typeof edge === 'number' && Object.values(others).every((other) => other === null) ? edge : Number.NaN;
}

/** The side of a square crop; else NaN. */
function cropOf(value: unknown, otherwise: number): number {
  const sides = sidesOf(value);
  if (sides !== undefined) return sides.height === sides.width ? sides.height : Number.NaN;
  return edgeOf(value, otherwise);
}
