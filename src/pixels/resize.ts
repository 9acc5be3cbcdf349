// SPDX-License-Identifier: Apache-2.0
// Resizing with Pillow's arithmetic: two passes over 8-bit values, coefficients in 22-bit fixed point, the filter widened when shrinking.
// Source of the arithmetic: Pillow's resampling (Image.resize, libImaging Resample and Geometry).
import { transformAffine } from './affine.ts';
import type { Image } from './image.ts';

export const RESIZE_FILTERS = ['nearest', 'box', 'bilinear', 'hamming', 'bicubic', 'lanczos'] as const;
export type ResizeFilter = (typeof RESIZE_FILTERS)[number];

/** The part of the source to sample, in pixels; edges may be fractional. */
export interface Box {
  left: number;
  top: number;
  right: number;
  bottom: number;
}

/** The image, or its part `box`, at width x height. */
export function resizeImage(image: Image, width: number, height: number, filter: ResizeFilter, box?: Box): Image {
  const source = roundedBox(box ?? { left: 0, top: 0, right: image.width, bottom: image.height });
  const isWhole =
    source.left === 0 && source.top === 0 && source.right === image.width && source.bottom === image.height;
  if (isWhole && image.width === width && image.height === height) return { ...image, data: image.data.slice() };
  // Pillow reverses the order of the passes for very tall images.
  if (image.height > image.width * 100 && height < image.height) {
    const squeezed = resample(image, image.width, height, filter, { ...source, left: 0, right: image.width });
    return resample(squeezed, width, height, filter, { ...source, top: 0, bottom: height });
  }
  return resample(image, width, height, filter, source);
}

/** Width and height after scaling the shorter edge to `size`, the longer one rounded down. */
export function shortestEdgeSize(width: number, height: number, size: number): { width: number; height: number } {
  return width <= height
    ? { width: size, height: Math.trunc((size * height) / width) }
    : { width: Math.trunc((size * width) / height), height: size };
}

function resample(image: Image, width: number, height: number, filter: ResizeFilter, box: Box): Image {
  if (filter === 'nearest') {
    const scaleX = (box.right - box.left) / width;
    const scaleY = (box.bottom - box.top) / height;
    return transformAffine(image, width, height, [scaleX, 0, box.left, 0, scaleY, box.top], 'nearest');
  }
  const vertical = coefficients(image.height, box.top, box.bottom, height, filter);
  const needsHorizontal = width !== image.width || box.left !== 0 || box.right !== width;
  const needsVertical = height !== image.height || box.top !== 0 || box.bottom !== height;
  let out = image;
  if (needsHorizontal) {
    const last = vertical.starts.length - 1;
    const firstRow = vertical.starts[0]!;
    const endRow = vertical.starts[last]! + vertical.counts[last]!;
    out = resampleRows(
      image,
      width,
      firstRow,
      endRow - firstRow,
      coefficients(image.width, box.left, box.right, width, filter),
    );
    for (let i = 0; i < vertical.starts.length; i++) vertical.starts[i]! -= firstRow;
  }
  if (needsVertical) out = resampleColumns(out, height, vertical);
  return out === image ? { ...image, data: image.data.slice() } : out;
}

/** For each output position: the first input position, the number of inputs, their weights. */
interface Coefficients {
  starts: Int32Array;
  counts: Int32Array;
  /** [outputs, taps] fixed point, PRECISION fractional bits. */
  weights: Int32Array;
  taps: number;
}

// 32 bits less 8 for the value and 2 for overshoot.
const PRECISION = 22;
const HALF = 1 << (PRECISION - 1);

function coefficients(
  inSize: number,
  start: number,
  end: number,
  outSize: number,
  filter: Exclude<ResizeFilter, 'nearest'>,
): Coefficients {
  const { support: unitSupport, weight } = KERNELS[filter];
  const scale = Math.fround(end - start) / outSize;
  const filterScale = Math.max(scale, 1);
  const support = unitSupport * filterScale;
  const taps = Math.ceil(support) * 2 + 1;
  const starts = new Int32Array(outSize);
  const counts = new Int32Array(outSize);
  const weights = new Int32Array(outSize * taps);
  const exact = new Float64Array(taps);
  for (let out = 0; out < outSize; out++) {
    const center = start + (out + 0.5) * scale;
    const first = Math.max(Math.trunc(center - support + 0.5), 0);
    const count = Math.min(Math.trunc(center + support + 0.5), inSize) - first;
    let total = 0;
    for (let tap = 0; tap < count; tap++) {
      exact[tap] = weight((tap + first - center + 0.5) * (1 / filterScale));
      total += exact[tap]!;
    }
    for (let tap = 0; tap < count; tap++) {
      const share = total !== 0 ? exact[tap]! / total : exact[tap]!;
      weights[out * taps + tap] = Math.trunc(share * 2 ** PRECISION + (share < 0 ? -0.5 : 0.5));
    }
    starts[out] = first;
    counts[out] = count;
  }
  return { starts, counts, weights, taps };
}

function resampleRows(image: Image, width: number, firstRow: number, numRows: number, table: Coefficients): Image {
  const { starts, counts, weights, taps } = table;
  const source = image.data;
  const data = new Uint8Array(width * numRows * 3);
  const stride = image.width * 3;
  for (let y = 0; y < numRows; y++) {
    const row = (y + firstRow) * stride;
    let to = y * width * 3;
    // The border of a padded image repeats one row.
    if (y > 0 && Buffer.compare(source.subarray(row - stride, row), source.subarray(row, row + stride)) === 0) {
      data.copyWithin(to, to - width * 3, to);
      continue;
    }
    for (let x = 0; x < width; x++) {
      let red = HALF;
      let green = HALF;
      let blue = HALF;
      let from = row + starts[x]! * 3;
      let k = x * taps;
      for (const end = k + counts[x]!; k < end; k++) {
        const weight = weights[k]!;
        red = (red + Math.imul(source[from]!, weight)) | 0;
        green = (green + Math.imul(source[from + 1]!, weight)) | 0;
        blue = (blue + Math.imul(source[from + 2]!, weight)) | 0;
        from += 3;
      }
      data[to] = clip8(red >> PRECISION);
      data[to + 1] = clip8(green >> PRECISION);
      data[to + 2] = clip8(blue >> PRECISION);
      to += 3;
    }
  }
  return { width, height: numRows, data };
}

function resampleColumns(image: Image, height: number, table: Coefficients): Image {
  const { starts, counts, weights, taps } = table;
  const stride = image.width * 3;
  const source = image.data;
  const data = new Uint8Array(stride * height);
  const sums = new Int32Array(stride);
  for (let y = 0; y < height; y++) {
    sums.fill(HALF);
    const count = counts[y]!;
    for (let tap = 0; tap < count; tap++) {
      const weight = weights[y * taps + tap]!;
      const row = (starts[y]! + tap) * stride;
      for (let i = 0; i < stride; i++) sums[i] = (sums[i]! + Math.imul(source[row + i]!, weight)) | 0;
    }
    const to = y * stride;
    for (let i = 0; i < stride; i++) data[to + i] = clip8(sums[i]! >> PRECISION);
  }
  return { width: image.width, height, data };
}

function clip8(value: number): number {
  return value < 0 ? 0 : Math.min(value, 255);
}

// Pillow stores the box in 32-bit floats.
function roundedBox(box: Box): Box {
  return {
    left: Math.fround(box.left),
    top: Math.fround(box.top),
    right: Math.fround(box.right),
    bottom: Math.fround(box.bottom),
  };
}

const KERNELS: Record<Exclude<ResizeFilter, 'nearest'>, { support: number; weight: (x: number) => number }> = {
  box: { support: 0.5, weight: (x) => (x > -0.5 && x <= 0.5 ? 1 : 0) },
  bilinear: { support: 1, weight: (x) => Math.max(1 - Math.abs(x), 0) },
  hamming: { support: 1, weight: hammingWeight },
  bicubic: { support: 2, weight: bicubicWeight },
  lanczos: { support: 3, weight: (x) => (x >= -3 && x < 3 ? sinc(x) * sinc(x / 3) : 0) },
};

function bicubicWeight(position: number): number {
  const a = -0.5;
  const x = Math.abs(position);
  if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
  return x < 2 ? (((x - 5) * x + 8) * x - 4) * a : 0;
}

function hammingWeight(position: number): number {
  const x = Math.abs(position);
  if (x === 0) return 1;
  return x >= 1 ? 0 : sinc(x) * (Math.fround(0.54) + Math.fround(0.46) * Math.cos(x * Math.PI));
}

function sinc(x: number): number {
  return x === 0 ? 1 : Math.sin(x * Math.PI) / (x * Math.PI);
}
