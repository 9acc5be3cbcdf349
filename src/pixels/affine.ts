// SPDX-License-Identifier: Apache-2.0
// Geometric transforms with Pillow's arithmetic: output pixels are looked up in the source through an inverse map.
// Source of the arithmetic: Pillow's Image.transform (libImaging Geometry).
import { BLACK, type Color, createImage, type Image } from './image.ts';

export const TRANSFORM_FILTERS = ['nearest', 'bilinear', 'bicubic'] as const;
export type TransformFilter = (typeof TRANSFORM_FILTERS)[number];

/** Output (x, y) comes from source (a x + b y + c, d x + e y + f), pixel centres at .5. */
export type AffineMatrix = readonly [a: number, b: number, c: number, d: number, e: number, f: number];

/** (a, b, c, d, e, f, g, h): source = ((a x + b y + c) / (g x + h y + 1), (d x + e y + f) / (g x + h y + 1)). */
export type PerspectiveCoefficients = readonly number[];

/** width x height pixels looked up through the matrix; pixels outside the source is `fill`. */
export function transformAffine(
  image: Image,
  width: number,
  height: number,
  matrix: AffineMatrix,
  filter: TransformFilter,
  fill: Color = BLACK,
): Image {
  const out = createImage(width, height, fill);
  const [a, b, c, d, e, f] = matrix;
  if (filter !== 'nearest') {
    return sampleThrough(image, out, filter, (x, y) => [a * x + b * y + c, d * x + e * y + f]);
  }
  if (b === 0 && d === 0) return scaleNearest(image, out, matrix);
  const fitsFixedPoint = [0, width].every((x) =>
    [0, height].every((y) => Math.abs(x * a + y * b + c) < 32768 && Math.abs(x * d + y * e + f) < 32768),
  );
  return fitsFixedPoint ? affineNearestFixed(image, out, matrix) : affineNearestFloat(image, out, matrix);
}

/** Like transformAffine, with a perspective map. */
export function transformPerspective(
  image: Image,
  width: number,
  height: number,
  coefficients: PerspectiveCoefficients,
  filter: TransformFilter,
  fill: Color = BLACK,
): Image {
  const [a, b, c, d, e, f, g, h] = coefficients as [number, number, number, number, number, number, number, number];
  return sampleThrough(image, createImage(width, height, fill), filter, (x, y) => {
    const scale = g * x + h * y + 1;
    return [(a * x + b * y + c) / scale, (d * x + e * y + f) / scale];
  });
}

// The three nearest-neighbour loops accumulate positions differently, so ties pick different pixels.

function scaleNearest(image: Image, out: Image, matrix: AffineMatrix): Image {
  const [stepX, , offsetX, , stepY, offsetY] = matrix;
  const columns = new Int32Array(out.width).fill(-1);
  let x = offsetX + stepX * 0.5;
  for (let i = 0; i < out.width; i++, x += stepX) {
    const from = x < 0 ? -1 : Math.trunc(x);
    if (from < image.width) columns[i] = from;
  }
  let y = offsetY + stepY * 0.5;
  for (let row = 0; row < out.height; row++, y += stepY) {
    const from = y < 0 ? -1 : Math.trunc(y);
    if (from < 0 || from >= image.height) continue;
    for (let i = 0; i < out.width; i++) {
      if (columns[i]! >= 0) copyPixel(image, columns[i]!, from, out, i, row);
    }
  }
  return out;
}

function affineNearestFixed(image: Image, out: Image, [a, b, c, d, e, f]: AffineMatrix): Image {
  const stepXX = fixed16(a);
  const stepXY = fixed16(b);
  const stepYX = fixed16(d);
  const stepYY = fixed16(e);
  let rowX = fixed16(c + a * 0.5 + b * 0.5);
  let rowY = fixed16(f + d * 0.5 + e * 0.5);
  const { width, height, data: source } = image;
  const { data } = out;
  let to = 0;
  for (let row = 0; row < out.height; row++) {
    let x = rowX;
    let y = rowY;
    for (let i = 0; i < out.width; i++, to += 3) {
      const fromX = x >> 16;
      const fromY = y >> 16;
      if (fromX >= 0 && fromX < width && fromY >= 0 && fromY < height) {
        const from = (fromY * width + fromX) * 3;
        data[to] = source[from]!;
        data[to + 1] = source[from + 1]!;
        data[to + 2] = source[from + 2]!;
      }
      x = (x + stepXX) | 0;
      y = (y + stepYX) | 0;
    }
    rowX = (rowX + stepXY) | 0;
    rowY = (rowY + stepYY) | 0;
  }
  return out;
}

function affineNearestFloat(image: Image, out: Image, [a, b, c, d, e, f]: AffineMatrix): Image {
  let rowX = c + b * 0.5 + a * 0.5;
  let rowY = f + e * 0.5 + d * 0.5;
  for (let row = 0; row < out.height; row++, rowX += b, rowY += e) {
    let x = rowX;
    let y = rowY;
    for (let i = 0; i < out.width; i++, x += a, y += d) {
      if (x >= 0 && y >= 0 && x < image.width && y < image.height) {
        copyPixel(image, Math.trunc(x), Math.trunc(y), out, i, row);
      }
    }
  }
  return out;
}

function fixed16(value: number): number {
  return Math.floor(value * 65536 + 0.5);
}

function copyPixel(image: Image, fromX: number, fromY: number, out: Image, x: number, y: number): void {
  const from = (fromY * image.width + fromX) * 3;
  const to = (y * out.width + x) * 3;
  out.data[to] = image.data[from]!;
  out.data[to + 1] = image.data[from + 1]!;
  out.data[to + 2] = image.data[from + 2]!;
}

/** Fills `out` by looking up each pixel's place in the source; pixels outside keep their value in `out`. */
function sampleThrough(
  image: Image,
  out: Image,
  filter: TransformFilter,
  place: (x: number, y: number) => [number, number],
): Image {
  const sample = SAMPLERS[filter];
  let to = 0;
  for (let row = 0; row < out.height; row++) {
    for (let i = 0; i < out.width; i++, to += 3) {
      const [x, y] = place(i + 0.5, row + 0.5);
      if (x >= 0 && x < image.width && y >= 0 && y < image.height) sample(image, x, y, out.data, to);
    }
  }
  return out;
}

type Sampler = (image: Image, x: number, y: number, data: Uint8Array, to: number) => void;

const SAMPLERS: Record<TransformFilter, Sampler> = {
  nearest(image, x, y, data, to) {
    const from = (Math.trunc(y) * image.width + Math.trunc(x)) * 3;
    data[to] = image.data[from]!;
    data[to + 1] = image.data[from + 1]!;
    data[to + 2] = image.data[from + 2]!;
  },
  bilinear: sampleBilinear,
  bicubic: sampleBicubic,
};

function sampleBilinear(image: Image, x: number, y: number, data: Uint8Array, to: number): void {
  const { width, height, data: source } = image;
  const column = Math.floor(x - 0.5);
  const row = Math.floor(y - 0.5);
  const dx = x - 0.5 - column;
  const dy = y - 0.5 - row;
  const left = clampIndex(column, width) * 3;
  const right = clampIndex(column + 1, width) * 3;
  const upper = clampIndex(row, height) * width * 3;
  const hasLower = row + 1 < height;
  const lower = (row + 1) * width * 3;
  for (let band = 0; band < 3; band++) {
    const a = source[upper + left + band]!;
    let value = a + (source[upper + right + band]! - a) * dx;
    if (hasLower) {
      const b = source[lower + left + band]!;
      const below = b + (source[lower + right + band]! - b) * dx;
      value += (below - value) * dy;
    }
    data[to + band] = value;
  }
}

function sampleBicubic(image: Image, x: number, y: number, data: Uint8Array, to: number): void {
  const { width, height, data: source } = image;
  const column = Math.floor(x - 0.5);
  const row = Math.floor(y - 0.5);
  const dx = x - 0.5 - column;
  const dy = y - 0.5 - row;
  const columns = [-1, 0, 1, 2].map((offset) => clampIndex(column + offset, width) * 3);
  for (let band = 0; band < 3; band++) {
    // A row past the lower edge repeats the value of the row before it; the first is clamped.
    const values: number[] = [];
    for (let offset = -1; offset <= 2; offset++) {
      const at = offset === -1 ? clampIndex(row - 1, height) : row + offset;
      if (at < 0 || at >= height) {
        values.push(values[values.length - 1]!);
        continue;
      }
      const [c0, c1, c2, c3] = columns.map((from) => source[at * width * 3 + from + band]!);
      values.push(cubic(c0!, c1!, c2!, c3!, dx));
    }
    const value = cubic(values[0]!, values[1]!, values[2]!, values[3]!, dy);
    data[to + band] = value <= 0 ? 0 : Math.min(value, 255);
  }
}

function cubic(v1: number, v2: number, v3: number, v4: number, d: number): number {
  const p2 = -v1 + v3;
  const p3 = 2 * (v1 - v2) + v3 - v4;
  const p4 = -v1 + v2 - v3 + v4;
  return v2 + d * (p2 + d * (p3 + d * p4));
}

function clampIndex(index: number, size: number): number {
  return index < 0 ? 0 : index < size ? index : size - 1;
}
