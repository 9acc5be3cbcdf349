// SPDX-License-Identifier: Apache-2.0
// The augmentations of contrastive learning: random resized crop, colour jitter and blur, combined as in each method.
import type { Size } from '../../pixels/image.ts';
import type { RandomStream } from '../../records/random.ts';
import type { ViewOp } from '../../records/record.ts';
import { drawChance, drawUniform, type Range, type Recipe, type RecipeParameter } from './recipe.ts';

const size: RecipeParameter = { kind: 'number', min: 1, max: 4096, whole: true, default: 224 };
const ratio: Range = { low: 3 / 4, high: 4 / 3 };

/** A crop of random area and shape, resized to size x size. */
export const rrcrop: Recipe = {
  summary: 'random resized crop',
  parameters: {
    size,
    scale: { kind: 'range', min: 1e-6, max: 1, default: [0.36, 0.64] },
    ratio: { kind: 'range', min: 0.01, max: 100, default: [ratio.low, ratio.high] },
  },
  draw: (image, random, values) =>
    resizedCrop(image, random, values.size as number, values.scale as Range, values.ratio as Range),
};

/** Mirrored with probability 0.5. */
export const flip: Recipe = {
  summary: 'horizontal flip',
  probability: 0.5,
  parameters: {},
  draw: () => [{ op: 'hflip' }],
};

/** MoCo's pipeline as in SeVa's generation code: always jitter and blur. */
export const moco = contrastive('SeVa: crop 0.2-1, flip, jitter, grayscale, blur', sevaPipeline(0.2));

/** MoCo with BYOL's smaller crops, as in SeVa's code. */
export const byol = contrastive('as moco with crops from 0.08', sevaPipeline(0.08));

/** SimCLR as in SeVa's code: strong hue, no blur. */
export const simclr = contrastive('crop 0.2-1, flip, jitter with hue 0.4, grayscale', (image, random, side) => [
  ...resizedCrop(image, random, side, { low: 0.2, high: 1 }),
  ...mirrored(random),
  ...jitter(random, 0.4, 0.4, 0.4, 0.4),
  ...grayed(random),
]);

/** MoCo v2 (Chen et al., 2003.04297): jitter p .8, blur p .5, flip last. */
export const mocoV2 = contrastive('jitter p 0.8, blur p 0.5, flip last', (image, random, side) => [
  ...resizedCrop(image, random, side, { low: 0.2, high: 1 }),
  ...sometimes(random, 0.8, () => jitter(random, 0.4, 0.4, 0.4, 0.1)),
  ...grayed(random),
  ...sometimes(random, 0.5, () => blurred(random)),
  ...mirrored(random),
]);

/** MoCo v3 (Chen et al., 2104.02057): view 1 blurs always; view 2 with p .1 and solarizes with p .2. */
export const mocoV3: Recipe = {
  summary: 'view 1: blur always; view 2: blur p 0.1, solarize p 0.2',
  parameters: { size, view: { kind: 'number', min: 1, max: 2, whole: true, default: 1 } },
  draw: (image, random, values) => [
    ...resizedCrop(image, random, values.size as number, { low: 0.2, high: 1 }),
    ...sometimes(random, 0.8, () => jitter(random, 0.4, 0.4, 0.2, 0.1)),
    ...grayed(random),
    ...sometimes(random, values.view === 1 ? 1 : 0.1, () => blurred(random)),
    ...(values.view === 2 ? sometimes(random, 0.2, () => [{ op: 'solarize', threshold: 128 }]) : []),
    ...mirrored(random),
  ],
};

type Pipeline = (image: Size, random: RandomStream, side: number) => ViewOp[];

function sevaPipeline(smallest: number): Pipeline {
  return (image, random, side) => [
    ...resizedCrop(image, random, side, { low: smallest, high: 1 }),
    ...mirrored(random),
    ...jitter(random, 0.4, 0.4, 0.4, 0.1),
    ...grayed(random),
    ...blurred(random),
  ];
}

function contrastive(summary: string, draw: Pipeline): Recipe {
  return { summary, parameters: { size }, draw: (image, random, values) => draw(image, random, values.size as number) };
}

// torchvision's RandomResizedCrop: ten tries, then the largest center crop of an allowed shape.
function resizedCrop(image: Size, random: RandomStream, side: number, scale: Range, shape: Range = ratio): ViewOp[] {
  return [
    { op: 'crop', ...cropBox(image, random, scale, shape) },
    { op: 'resize', width: side, height: side },
  ];
}

function cropBox({ width, height }: Size, random: RandomStream, scale: Range, shape: Range) {
  const logShape = { low: Math.log(shape.low), high: Math.log(shape.high) };
  for (let attempt = 0; attempt < 10; attempt++) {
    const area = width * height * drawUniform(random, scale);
    const aspect = Math.exp(drawUniform(random, logShape));
    const w = Math.round(Math.sqrt(area * aspect));
    const h = Math.round(Math.sqrt(area / aspect));
    if (w < 1 || h < 1 || w > width || h > height) continue;
    const top = random.nextInt(height - h + 1);
    const left = random.nextInt(width - w + 1);
    return { left, top, width: w, height: h };
  }
  const w = width / height > shape.high ? Math.round(height * shape.high) : width;
  const h = width / height < shape.low ? Math.round(width / shape.low) : height;
  return { left: Math.floor((width - w) / 2), top: Math.floor((height - h) / 2), width: w, height: h };
}

function mirrored(random: RandomStream): ViewOp[] {
  return sometimes(random, 0.5, () => [{ op: 'hflip' }]);
}

function grayed(random: RandomStream): ViewOp[] {
  return sometimes(random, 0.2, () => [{ op: 'grayscale' }]);
}

function blurred(random: RandomStream): ViewOp[] {
  return [{ op: 'blur', sigma: drawUniform(random, { low: 0.1, high: 2 }) }];
}

// torchvision's ColorJitter: four operations in random order, factors uniform around 1, hue around 0.
function jitter(random: RandomStream, brightness: number, contrast: number, saturation: number, hue: number): ViewOp[] {
  const about = (spread: number) => drawUniform(random, { low: Math.max(0, 1 - spread), high: 1 + spread });
  const order = shuffled(random, [0, 1, 2, 3]);
  const ops: ViewOp[] = [
    { op: 'brightness', factor: about(brightness) },
    { op: 'contrast', factor: about(contrast) },
    { op: 'saturation', factor: about(saturation) },
    { op: 'hue', factor: drawUniform(random, { low: -hue, high: hue }) },
  ];
  return order.map((i) => ops[i]!);
}

function sometimes(random: RandomStream, p: number, draw: () => ViewOp[]): ViewOp[] {
  return drawChance(random, p) ? draw() : [];
}

function shuffled<T>(random: RandomStream, items: T[]): T[] {
  const out = [...items];
  for (let i = out.length - 1; i > 0; i--) {
    const j = random.nextInt(i + 1);
    [out[i], out[j]] = [out[j]!, out[i]!];
  }
  return out;
}
