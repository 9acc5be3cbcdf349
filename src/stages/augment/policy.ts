// SPDX-License-Identifier: Apache-2.0
// AutoAugment (Cubuk et al., 1805.09501) and RandAugment (1909.13719) with torchvision's tables and magnitudes.
import type { Size } from '../../pixels/image.ts';
import { roundHalfEven } from '../../python/numpy.ts';
import type { RandomStream } from '../../records/random.ts';
import type { ViewOp } from '../../records/record.ts';
import type { Recipe } from './recipe.ts';

/** Operation, probability, magnitude bin (null if the operation has no magnitude). */
type PolicyStep = readonly [op: string, probability: number, bin: number | null];

/** The 25 sub-policies learned on ImageNet. */
export const IMAGENET_POLICY: readonly (readonly [PolicyStep, PolicyStep])[] = [
  [
    ['posterize', 0.4, 8],
    ['rotate', 0.6, 9],
  ],
  [
    ['solarize', 0.6, 5],
    ['autocontrast', 0.6, null],
  ],
  [
    ['equalize', 0.8, null],
    ['equalize', 0.6, null],
  ],
  [
    ['posterize', 0.6, 7],
    ['posterize', 0.6, 6],
  ],
  [
    ['equalize', 0.4, null],
    ['solarize', 0.2, 4],
  ],
  [
    ['equalize', 0.4, null],
    ['rotate', 0.8, 8],
  ],
  [
    ['solarize', 0.6, 3],
    ['equalize', 0.6, null],
  ],
  [
    ['posterize', 0.8, 5],
    ['equalize', 1, null],
  ],
  [
    ['rotate', 0.2, 3],
    ['solarize', 0.6, 8],
  ],
  [
    ['equalize', 0.6, null],
    ['posterize', 0.4, 6],
  ],
  [
    ['rotate', 0.8, 8],
    ['saturation', 0.4, 0],
  ],
  [
    ['rotate', 0.4, 9],
    ['equalize', 0.6, null],
  ],
  [
    ['equalize', 0, null],
    ['equalize', 0.8, null],
  ],
  [
    ['invert', 0.6, null],
    ['equalize', 1, null],
  ],
  [
    ['saturation', 0.6, 4],
    ['contrast', 1, 8],
  ],
  [
    ['rotate', 0.8, 8],
    ['saturation', 1, 2],
  ],
  [
    ['saturation', 0.8, 8],
    ['solarize', 0.8, 7],
  ],
  [
    ['sharpness', 0.4, 7],
    ['invert', 0.6, null],
  ],
  [
    ['shear-x', 0.6, 5],
    ['equalize', 1, null],
  ],
  [
    ['saturation', 0.4, 0],
    ['equalize', 0.6, null],
  ],
  [
    ['equalize', 0.4, null],
    ['solarize', 0.2, 4],
  ],
  [
    ['solarize', 0.6, 5],
    ['autocontrast', 0.6, null],
  ],
  [
    ['invert', 0.6, null],
    ['equalize', 1, null],
  ],
  [
    ['saturation', 0.6, 4],
    ['contrast', 1, 8],
  ],
  [
    ['equalize', 0.8, null],
    ['equalize', 0.6, null],
  ],
];

/** RandAugment's choices. */
export const RANDAUGMENT_OPS: readonly string[] = [
  'identity',
  'shear-x',
  'shear-y',
  'translate-x',
  'translate-y',
  'rotate',
  'brightness',
  'saturation',
  'contrast',
  'sharpness',
  'posterize',
  'solarize',
  'autocontrast',
  'equalize',
];

/** The parameter that holds an operation's magnitude, and whether its sign is random. */
interface Magnitude {
  values: readonly number[];
  signed: boolean;
  toOp(magnitude: number): Record<string, number>;
}

/** Each operation's magnitudes in `numBins` steps, for an image of this size; operations without one are absent. */
export function magnitudeBins(numBins: number, { width, height }: Size): Record<string, Magnitude> {
  const shear = { values: linspace(0, 0.3, numBins), signed: true, toOp: (magnitude: number) => ({ magnitude }) };
  const enhance = { values: linspace(0, 0.9, numBins), signed: true, toOp: (m: number) => ({ factor: 1 + m }) };
  const translate = (side: number): Magnitude => ({
    values: linspace(0, (150 / 331) * side, numBins),
    signed: true,
    toOp: (magnitude) => ({ pixels: Math.trunc(magnitude) }),
  });
  return {
    'shear-x': shear,
    'shear-y': shear,
    'translate-x': translate(width),
    'translate-y': translate(height),
    rotate: { values: linspace(0, 30, numBins), signed: true, toOp: (degrees) => ({ degrees }) },
    brightness: enhance,
    saturation: enhance,
    contrast: enhance,
    sharpness: enhance,
    posterize: {
      values: Array.from({ length: numBins }, (_, i) => 8 - roundHalfEven(i / ((numBins - 1) / 4))),
      signed: false,
      toOp: (bits) => ({ bits }),
    },
    solarize: { values: linspace(255, 0, numBins), signed: false, toOp: (threshold) => ({ threshold }) },
  };
}

export const autoaugment: Recipe = {
  summary: "AutoAugment's ImageNet policy",
  parameters: {},
  draw(size, random) {
    const policy = IMAGENET_POLICY[random.nextInt(IMAGENET_POLICY.length)]!;
    const chances = policy.map(() => random.nextFloat());
    const negative = policy.map(() => random.nextInt(2) === 0);
    const bins = magnitudeBins(10, size);
    return policy.flatMap(([op, probability, bin], i) =>
      chances[i]! <= probability ? [magnitudeOp(op, bins[op], bin ?? 0, negative[i]!)] : [],
    );
  },
};

export const randaugment: Recipe = {
  summary: 'random operations of one magnitude',
  parameters: {
    ops: { kind: 'number', min: 1, max: 100, whole: true, default: 2 },
    magnitude: { kind: 'number', min: 0, max: 1000, whole: true, default: 9 },
    bins: { kind: 'number', min: 2, max: 1001, whole: true, default: 31 },
  },
  check: ({ magnitude, bins }) =>
    (magnitude as number) < (bins as number)
      ? undefined
      : `magnitude: expected less than bins=${bins}, got ${magnitude}`,
  draw(size, random, { ops, magnitude, bins }) {
    const table = magnitudeBins(bins as number, size);
    return Array.from({ length: ops as number }, () => drawOne(random, table, magnitude as number)).flat();
  },
};

function drawOne(random: RandomStream, table: Record<string, Magnitude>, bin: number): ViewOp[] {
  const op = RANDAUGMENT_OPS[random.nextInt(RANDAUGMENT_OPS.length)]!;
  const isNegative = table[op]?.signed === true && random.nextInt(2) === 1;
  return op === 'identity' ? [] : [magnitudeOp(op, table[op], bin, isNegative)];
}

function magnitudeOp(op: string, table: Magnitude | undefined, bin: number, isNegative: boolean): ViewOp {
  if (table === undefined) return { op };
  const magnitude = table.values[bin]!;
  return { op, ...table.toOp(table.signed && isNegative ? -magnitude : magnitude) };
}

// torch.linspace in 32-bit floats: from the start in the first half, from the end in the second, one rounding each (fused multiply-add).
function linspace(start: number, end: number, count: number): number[] {
  const f = Math.fround;
  const [first, last] = [f(start), f(end)];
  const step = f(f(last - first) / (count - 1));
  return Array.from({ length: count }, (_, i) =>
    i < Math.floor(count / 2) ? f(first + step * i) : f(last - step * (count - 1 - i)),
  );
}
