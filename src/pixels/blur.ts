// SPDX-License-Identifier: Apache-2.0
// Gaussian blur as Pillow approximates it: three extended box blurs in each direction, integer arithmetic.
// Source: Gwosdek et al., "Theoretical foundations of Gaussian convolution by extended box filtering" (SSVM 2011); Pillow's ImageFilter.GaussianBlur.
import type { Image } from './image.ts';

const PASSES = 3;
// Half of the last whole bit in 24-bit fixed point.
const HALF = 1 << 23;

/** Blurred with standard deviation `sigma` in pixels; 0 leaves the image unchanged. */
export function blurImage(image: Image, sigma: number): Image {
  const { width, height } = image;
  const data = image.data.slice();
  if (sigma === 0) return { width, height, data };
  const box = boxOf(sigma);
  blurRows(data, width, height, box);
  const spare = new Uint8Array(data.length);
  blurColumns(data, spare, width * 3, height, box);
  blurColumns(spare, data, width * 3, height, box);
  blurColumns(data, spare, width * 3, height, box);
  return { width, height, data: spare };
}

/** A box of 2 * radius + 1 full pixels and a fraction of one more on each side; weights in 24-bit fixed point. */
interface BlurBox {
  radius: number;
  weight: number;
  edgeWeight: number;
}

// Rounds to 32-bit float wherever Pillow's C code does.
function boxOf(sigma: number): BlurBox {
  const f = Math.fround;
  const variance = f(f(f(sigma) * f(sigma)) / PASSES);
  const length = f(Math.sqrt(12 * variance + 1));
  const whole = f(Math.floor((length - 1) / 2));
  const share = f(f(2 * whole + 1) * f(f(whole * f(whole + 1)) - f(3 * variance)));
  const boxRadius = f(whole + f(share / f(6 * f(variance - f(f(whole + 1) * f(whole + 1))))));
  const radius = Math.trunc(boxRadius);
  const weight = Math.trunc(f((1 << 24) / f(f(boxRadius * 2) + 1)));
  return { radius, weight, edgeWeight: Math.trunc(((1 << 24) - (radius * 2 + 1) * weight) / 2) };
}

/** All passes over one row before the next, in lines with margins for repeated edges. */
function blurRows(data: Uint8Array, width: number, height: number, box: BlurBox): void {
  const margin = (box.radius + 1) * 3;
  const stride = width * 3;
  let line = new Uint8Array(stride + 2 * margin);
  let next = new Uint8Array(stride + 2 * margin);
  for (let row = 0; row < height; row++) {
    line.set(data.subarray(row * stride, (row + 1) * stride), margin);
    for (let pass = 0; pass < PASSES; pass++) {
      repeatEnds(line, margin, stride);
      blurLine(line, next, stride, box);
      [line, next] = [next, line];
    }
    data.set(line.subarray(margin, margin + stride), row * stride);
  }
}

function repeatEnds(line: Uint8Array, margin: number, stride: number): void {
  const last = margin + stride - 3;
  for (let i = 0; i < margin; i += 3) {
    line.copyWithin(i, margin, margin + 3);
    line.copyWithin(last + 3 + i, last, last + 3);
  }
}

/** One box blur along a line of RGB with margins. Writes only between the margins. */
function blurLine(line: Uint8Array, out: Uint8Array, stride: number, { radius, weight, edgeWeight }: BlurBox): void {
  const reach = radius * 3;
  const margin = reach + 3;
  let red = 0;
  let green = 0;
  let blue = 0;
  // The box before the first position.
  for (let at = 0; at < margin + reach; at += 3) {
    red += line[at]!;
    green += line[at + 1]!;
    blue += line[at + 2]!;
  }
  for (let at = margin, end = margin + stride; at < end; at += 3) {
    const leaves = at - margin;
    const enters = at + reach;
    const red0 = line[leaves]!;
    const green0 = line[leaves + 1]!;
    const blue0 = line[leaves + 2]!;
    red = (red + line[enters]! - red0) | 0;
    green = (green + line[enters + 1]! - green0) | 0;
    blue = (blue + line[enters + 2]! - blue0) | 0;
    out[at] = (Math.imul(red, weight) + Math.imul(red0 + line[enters + 3]!, edgeWeight) + HALF) >>> 24;
    out[at + 1] = (Math.imul(green, weight) + Math.imul(green0 + line[enters + 4]!, edgeWeight) + HALF) >>> 24;
    out[at + 2] = (Math.imul(blue, weight) + Math.imul(blue0 + line[enters + 5]!, edgeWeight) + HALF) >>> 24;
  }
}

/** One box blur down all columns together, for sequential memory access. */
function blurColumns(source: Uint8Array, out: Uint8Array, stride: number, height: number, box: BlurBox): void {
  const { radius, weight, edgeWeight } = box;
  const rowAt = (row: number) => Math.min(Math.max(row, 0), height - 1) * stride;
  const sums = new Int32Array(stride);
  for (let row = -radius - 1; row < radius; row++) {
    for (let i = 0, from = rowAt(row); i < stride; i++, from++) sums[i] = sums[i]! + source[from]!;
  }
  for (let row = 0; row < height; row++) {
    let leaves = rowAt(row - radius - 1);
    let enters = rowAt(row + radius);
    let beyond = rowAt(row + radius + 1);
    let to = row * stride;
    for (let i = 0; i < stride; i++) {
      const before = source[leaves++]!;
      const sum = (sums[i]! + source[enters++]! - before) | 0;
      sums[i] = sum;
      out[to++] = (Math.imul(sum, weight) + Math.imul(before + source[beyond++]!, edgeWeight) + HALF) >>> 24;
    }
  }
}
