// SPDX-License-Identifier: Apache-2.0
// The pixel operations by name, with the parameters that a record stores. Applying a recorded operation gives the same pixels.
import type { ViewOp } from '../records/record.ts';
import { TRANSFORM_FILTERS } from './affine.ts';
import { blurImage } from './blur.ts';
import {
  adjustBrightness,
  adjustContrast,
  adjustHue,
  adjustSaturation,
  adjustSharpness,
  autocontrastImage,
  equalizeImage,
  grayscaleImage,
  invertImage,
  posterizeImage,
  solarizeImage,
} from './color.ts';
import {
  affineImage,
  BORDER_MODES,
  type Corners,
  cropImage,
  flipHorizontal,
  flipVertical,
  padImage,
  perspectiveImage,
  rotatedSize,
  rotateImage,
  type TransformOptions,
} from './geometry.ts';
import type { Color, Image, Size } from './image.ts';
import { PixelError } from './pixel-error.ts';
import { RESIZE_FILTERS, resizeImage } from './resize.ts';

/** The allowed values of a parameter. A default makes it optional. */
export type Parameter =
  | { kind: 'number'; min: number; max: number; whole?: boolean; default?: number }
  | { kind: 'word'; words: readonly string[]; default: string }
  | { kind: 'numbers'; count: number; min: number; max: number; default?: readonly number[] };

export interface PixelOp {
  /** Description, for the manual. */
  summary: string;
  parameters: Record<string, Parameter>;
  /** `op`: all parameters, checked. */
  apply(image: Image, op: ViewOp): Image;
  /** Size of the result, if it differs from the image's. */
  size?(image: Size, op: ViewOp): Size;
}

const SIDE = 65_535;
const pixels: Parameter = { kind: 'number', min: 1, max: SIDE, whole: true };
const offset: Parameter = { kind: 'number', min: -SIDE, max: SIDE, whole: true };
const degrees: Parameter = { kind: 'number', min: -36_000, max: 36_000 };
const factor: Parameter = { kind: 'number', min: 0, max: 1000 };
const border: Parameter = { kind: 'number', min: 0, max: SIDE, whole: true, default: 0 };
const fill: Parameter = { kind: 'numbers', count: 3, min: 0, max: 255, default: [0, 0, 0] };
const nearest: Parameter = { kind: 'word', words: TRANSFORM_FILTERS, default: 'nearest' };
const transform = { filter: nearest, fill };
const shearAngle: Parameter = { kind: 'number', min: -89, max: 89, default: 0 };

/** Every operation that `augment` can name; results equal torchvision's on PIL images (tolerances: test/pixels). */
export const PIXEL_OPS: Record<string, PixelOp> = {
  hflip: { summary: 'mirror left to right', parameters: {}, apply: (image) => flipHorizontal(image) },
  vflip: { summary: 'mirror top to bottom', parameters: {}, apply: (image) => flipVertical(image) },
  crop: {
    summary: 'crop; black outside the image',
    parameters: { left: offset, top: offset, width: pixels, height: pixels },
    apply: (image, op) => cropImage(image, num(op, 'left'), num(op, 'top'), num(op, 'width'), num(op, 'height')),
    size: (_image, op) => ({ width: num(op, 'width'), height: num(op, 'height') }),
  },
  resize: {
    summary: 'resize to width x height',
    parameters: { width: pixels, height: pixels, filter: { kind: 'word', words: RESIZE_FILTERS, default: 'bilinear' } },
    apply: (image, op) => resizeImage(image, num(op, 'width'), num(op, 'height'), word(op, 'filter')),
    size: (_image, op) => ({ width: num(op, 'width'), height: num(op, 'height') }),
  },
  pad: {
    summary: 'add a border',
    parameters: {
      left: border,
      top: border,
      right: border,
      bottom: border,
      mode: { kind: 'word', words: BORDER_MODES, default: 'constant' },
      fill,
    },
    apply(image, op) {
      const sides = { left: num(op, 'left'), top: num(op, 'top'), right: num(op, 'right'), bottom: num(op, 'bottom') };
      return padImage(image, sides, word(op, 'mode'), op.fill as Color);
    },
    size: ({ width, height }, op) => ({
      width: width + num(op, 'left') + num(op, 'right'),
      height: height + num(op, 'top') + num(op, 'bottom'),
    }),
  },
  rotate: {
    summary: 'counter-clockwise about the centre; expand=1 keeps the corners',
    parameters: { degrees, expand: { kind: 'number', min: 0, max: 1, whole: true, default: 0 }, ...transform },
    apply: (image, op) => rotateImage(image, num(op, 'degrees'), { ...sampling(op), expand: op.expand === 1 }),
    size: (image, op) => (op.expand === 1 ? rotatedSize(image, num(op, 'degrees')) : image),
  },
  // AutoAugment's shears: `magnitude` is the shift per pixel, the first row or column stays.
  'shear-x': {
    summary: "AutoAugment's shear: each row is shifted further, the first not at all",
    parameters: { magnitude: { kind: 'number', min: -10, max: 10 }, ...transform },
    apply: (image, op) => affineImage(image, { ...STILL, shearX: slope(op), center: [0, 0] }, sampling(op)),
  },
  'shear-y': {
    summary: "AutoAugment's shear: each column is shifted further, the first not at all",
    parameters: { magnitude: { kind: 'number', min: -10, max: 10 }, ...transform },
    apply: (image, op) => affineImage(image, { ...STILL, shearY: slope(op), center: [0, 0] }, sampling(op)),
  },
  'translate-x': {
    summary: 'shift to the right',
    parameters: { pixels: offset, ...transform },
    apply: (image, op) => affineImage(image, { ...STILL, translateX: num(op, 'pixels') }, sampling(op)),
  },
  'translate-y': {
    summary: 'shift down',
    parameters: { pixels: offset, ...transform },
    apply: (image, op) => affineImage(image, { ...STILL, translateY: num(op, 'pixels') }, sampling(op)),
  },
  affine: {
    summary: 'rotate clockwise, shift, scale and shear (degrees) about the centre',
    parameters: {
      degrees: { ...degrees, default: 0 },
      translate_x: { ...offset, default: 0 },
      translate_y: { ...offset, default: 0 },
      scale: { kind: 'number', min: 0.001, max: 1000, default: 1 },
      shear_x: shearAngle,
      shear_y: shearAngle,
      ...transform,
    },
    apply(image, op) {
      const parameters = {
        degrees: num(op, 'degrees'),
        translateX: num(op, 'translate_x'),
        translateY: num(op, 'translate_y'),
        scale: num(op, 'scale'),
        shearX: num(op, 'shear_x'),
        shearY: num(op, 'shear_y'),
      };
      return affineImage(image, parameters, sampling(op));
    },
  },
  perspective: {
    summary: 'move the corners, from top-left clockwise',
    parameters: {
      corners: { kind: 'numbers', count: 8, min: -SIDE, max: SIDE },
      filter: { kind: 'word', words: TRANSFORM_FILTERS, default: 'bilinear' },
      fill,
    },
    apply: (image, op) => perspectiveImage(image, op.corners as unknown as Corners, sampling(op)),
  },
  brightness: {
    summary: 'factor: 0 is black, 1 unchanged',
    parameters: { factor },
    apply: (image, op) => adjustBrightness(image, num(op, 'factor')),
  },
  contrast: {
    summary: 'factor: 0 is the mean grey, 1 unchanged',
    parameters: { factor },
    apply: (image, op) => adjustContrast(image, num(op, 'factor')),
  },
  saturation: {
    summary: 'factor: 0 is grey, 1 unchanged',
    parameters: { factor },
    apply: (image, op) => adjustSaturation(image, num(op, 'factor')),
  },
  hue: {
    summary: 'rotate the hue by a share of the colour circle, -0.5..0.5',
    parameters: { factor: { kind: 'number', min: -0.5, max: 0.5 } },
    apply: (image, op) => adjustHue(image, num(op, 'factor')),
  },
  grayscale: {
    summary: 'convert to grey: luma in all three channels',
    parameters: {},
    apply: (image) => grayscaleImage(image),
  },
  invert: { summary: '255 minus each value', parameters: {}, apply: (image) => invertImage(image) },
  posterize: {
    summary: 'keep the highest bits of each value',
    parameters: { bits: { kind: 'number', min: 0, max: 8, whole: true } },
    apply: (image, op) => posterizeImage(image, num(op, 'bits')),
  },
  solarize: {
    summary: 'invert values at or above the threshold',
    parameters: { threshold: { kind: 'number', min: 0, max: 256, default: 128 } },
    apply: (image, op) => solarizeImage(image, num(op, 'threshold')),
  },
  equalize: { summary: "flatten each channel's histogram", parameters: {}, apply: (image) => equalizeImage(image) },
  autocontrast: {
    summary: 'stretch each channel to 0..255',
    parameters: {},
    apply: (image) => autocontrastImage(image),
  },
  sharpness: {
    summary: 'factor: 0 is smoothed, 1 unchanged, 2 sharper',
    parameters: { factor },
    apply: (image, op) => adjustSharpness(image, num(op, 'factor')),
  },
  blur: {
    summary: "Pillow's Gaussian blur",
    parameters: { sigma: { kind: 'number', min: 0, max: 1000 } },
    apply: (image, op) => blurImage(image, num(op, 'sigma')),
  },
};

const STILL = { degrees: 0, translateX: 0, translateY: 0, scale: 1, shearX: 0, shearY: 0 };

/** The image after one recorded operation. Throws PixelError with the invalid parameter. */
export function applyPixelOp(image: Image, op: ViewOp): Image {
  const { known, full } = checkedOp(op);
  return known.apply(image, full);
}

/** The size of the image after one recorded operation. Throws as applyPixelOp does. */
export function sizeAfter(image: Size, op: ViewOp): Size {
  const { known, full } = checkedOp(op);
  return known.size?.(image, full) ?? image;
}

/** The operation with its defaults. Throws PixelError for an unknown operation or an invalid parameter. */
function checkedOp(op: ViewOp): { known: PixelOp; full: ViewOp } {
  const known = Object.hasOwn(PIXEL_OPS, op.op) ? PIXEL_OPS[op.op] : undefined;
  if (known === undefined) {
    throw new PixelError('op', 'op', `one of ${Object.keys(PIXEL_OPS).join(' ')}`, JSON.stringify(op.op));
  }
  const full: ViewOp = { op: op.op };
  for (const [name, parameter] of Object.entries(known.parameters)) {
    const value = op[name] ?? parameter.default;
    const problem = parameterProblem(parameter, value);
    if (problem !== undefined) {
      throw new PixelError('op', `${op.op}: ${name}`, problem, JSON.stringify(value) ?? 'nothing');
    }
    full[name] = value;
  }
  return { known, full };
}

/** The expected value, if `value` is invalid. */
export function parameterProblem(parameter: Parameter, value: unknown): string | undefined {
  if (parameter.kind === 'word') {
    return parameter.words.includes(value as string) ? undefined : `one of ${parameter.words.join(' ')}`;
  }
  const { min, max } = parameter;
  const inRange = (x: unknown) => typeof x === 'number' && x >= min && x <= max;
  if (parameter.kind === 'numbers') {
    const isList = Array.isArray(value) && value.length === parameter.count && value.every(inRange);
    return isList ? undefined : `${parameter.count} numbers in ${min}..${max}`;
  }
  if (parameter.whole) {
    return inRange(value) && Number.isInteger(value) ? undefined : `a whole number in ${min}..${max}`;
  }
  return inRange(value) ? undefined : `a number in ${min}..${max}`;
}

function num(op: ViewOp, name: string): number {
  return op[name] as number;
}

function word<T extends string>(op: ViewOp, name: string): T {
  return op[name] as T;
}

function sampling(op: ViewOp): Required<TransformOptions> {
  return { filter: word(op, 'filter'), fill: op.fill as Color };
}

// The shear angle whose tangent is the magnitude.
function slope(op: ViewOp): number {
  return Math.atan(num(op, 'magnitude')) * (180 / Math.PI);
}
