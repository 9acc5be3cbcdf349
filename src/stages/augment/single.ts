// SPDX-License-Identifier: Apache-2.0
// Single operations as recipes: parameters as given, or drawn from a range; some have a shorter form.

import { type Corners, isPerspective } from '../../pixels/geometry.ts';
import type { Size } from '../../pixels/image.ts';
import { PIXEL_OPS } from '../../pixels/ops.ts';
import { shortestEdgeSize } from '../../pixels/resize.ts';
import type { RandomStream } from '../../records/random.ts';
import { isRange, type Recipe, type RecipeParameter, type RecipeValues } from './recipe.ts';

/** One recipe per pixel operation, with the operation's parameters. */
export function singleRecipes(): Record<string, Recipe> {
  const plain = Object.entries(PIXEL_OPS).map(([op, { summary, parameters }]): [string, Recipe] => [
    op,
    { summary, parameters, draw: (_size, _random, values) => [{ op, ...values }] },
  ]);
  return { ...Object.fromEntries(plain), crop, resize, pad, perspective };
}

const side: RecipeParameter = { kind: 'number', min: 1, max: 65_535, whole: true, optional: true };
const place: RecipeParameter = { kind: 'number', min: -65_535, max: 65_535, whole: true, optional: true };

const crop: Recipe = {
  summary: 'crop by left, top, width, height, or of a size at the center or at random',
  parameters: {
    left: place,
    top: place,
    width: side,
    height: side,
    size: side,
    at: { kind: 'word', words: ['center', 'random'], default: 'center' },
  },
  check: oneSize,
  draw(image, random, values) {
    const width = (values.width ?? values.size) as number;
    const height = (values.height ?? values.size) as number;
    const left = values.left ?? startOf(image.width, width, values, random);
    const top = values.top ?? startOf(image.height, height, values, random);
    return [{ op: 'crop', left, top, width, height }];
  },
};

const resize: Recipe = {
  summary: 'resize to width x height, or to size on the shorter edge',
  parameters: { ...PIXEL_OPS.resize!.parameters, width: side, height: side, size: side },
  check: oneSize,
  draw(image, _random, { filter, ...values }) {
    const shorter = values.size as number | undefined;
    const target = shorter === undefined ? values : shortestEdgeSize(image.width, image.height, shorter);
    return [{ op: 'resize', width: target.width, height: Math.max(target.height as number, 1), filter }];
  },
};

const pad: Recipe = {
  summary: 'add a border on some or all sides',
  parameters: {
    ...PIXEL_OPS.pad!.parameters,
    all: { kind: 'number', min: 0, max: 65_535, whole: true, optional: true },
  },
  draw(_image, _random, { all, ...values }) {
    return [{ op: 'pad', ...values, ...(all !== undefined && { left: all, top: all, right: all, bottom: all }) }];
  },
};

const perspective: Recipe = {
  summary: 'perspective by the moved corners, clockwise from the top left, or drawn with distortion',
  parameters: {
    ...PIXEL_OPS.perspective!.parameters,
    corners: { kind: 'numbers', count: 8, min: -65_535, max: 65_535, optional: true } as RecipeParameter,
    distortion: { kind: 'number', min: 0, max: 1, optional: true },
  },
  check: ({ corners, distortion }) =>
    (corners === undefined) === (distortion === undefined)
      ? 'corners: expected them or distortion, not both'
      : undefined,
  draw(image, random, { distortion, ...values }) {
    if (values.corners !== undefined) return [{ op: 'perspective', ...values }];
    // No perspective exists for an image of one row or column, or for corners that fold the image.
    if (Math.min(image.width, image.height) < 2) return [];
    const draws = Array.from({ length: 10 }, () => drawCorners(image, random, distortion as number));
    const corners = draws.find(isPerspective);
    return corners === undefined ? [] : [{ op: 'perspective', ...values, corners }];
  },
};

// torchvision's RandomPerspective.
function drawCorners({ width, height }: Size, random: RandomStream, distortion: number): Corners {
  const reachX = Math.trunc(distortion * Math.floor(width / 2)) + 1;
  const reachY = Math.trunc(distortion * Math.floor(height / 2)) + 1;
  const [near, far] = [
    (reach: number) => random.nextInt(reach),
    (end: number, reach: number) => end - reach + random.nextInt(reach),
  ];
  const topLeft = [near(reachX), near(reachY)];
  const topRight = [far(width, reachX), near(reachY)];
  const bottomRight = [far(width, reachX), far(height, reachY)];
  const bottomLeft = [near(reachX), far(height, reachY)];
  return [topLeft, topRight, bottomRight, bottomLeft].flat() as unknown as Corners;
}

function oneSize({ width, height, size }: RecipeValues): string | undefined {
  const isWhole = (width === undefined) === (height === undefined) && (width === undefined) !== (size === undefined);
  return isWhole ? undefined : 'size: expected it, or width and height';
}

function startOf(inSize: number, outSize: number, { at }: RecipeValues, random: RandomStream): number {
  if (at === 'random' && inSize > outSize) return random.nextInt(inSize - outSize + 1);
  // torchvision's CenterCrop rounds halves to even for crops, and rounds halves down for padding.
  if (inSize < outSize) return -Math.floor((outSize - inSize) / 2);
  const half = (inSize - outSize) / 2;
  return Number.isInteger(half) ? half : Math.floor(half) + (Math.floor(half) % 2);
}

/** Replaces ranges by draws, in parameter order. Integer parameters draw integers, both ends included. */
export function drawRanges(
  parameters: Record<string, RecipeParameter>,
  random: RandomStream,
  values: RecipeValues,
): RecipeValues {
  const out: Record<string, RecipeValues[string]> = {};
  for (const [name, parameter] of Object.entries(parameters)) {
    const value = values[name];
    if (value === undefined) continue;
    if (!isRange(value) || parameter.kind === 'range') out[name] = value;
    else if (parameter.kind === 'number' && parameter.whole)
      out[name] = value.low + random.nextInt(value.high - value.low + 1);
    else out[name] = value.low + (value.high - value.low) * random.nextFloat();
  }
  return out;
}
