// SPDX-License-Identifier: Apache-2.0
// Gaussian blur as Pillow approximates it: three extended box blurs in each direction, integer arithmetic.
// Source: Gwosdek et al., "Theoretical foundations of Gaussian convolution by extended box filtering" (SSVM 2011); Pillow's ImageFilter.GaussianBlur.
import type { Image } from './image.ts';

const PASSES = 3;

/** Blurred with standard deviation `sigma` in pixels; 0 leaves the image as it is. */
export function blurImage(image: Image, sigma: number): Image {
  const { width, height } = image;
  if (sigma === 0) return { ...image, data: image.data.slice() };
  const box = boxOf(sigma);
  let data: Uint8Array = image.data;
  let spare: Uint8Array = new Uint8Array(data.length);
  for (let pass = 0; pass < PASSES; pass++) {
    const out = pass === 0 ? new Uint8Array(data.length) : spare;
    for (let y = 0; y < height; y++) blurLine(data, out, { start: y * width * 3, step: 3, count: width }, 3, box);
    if (pass > 0) spare = data;
    data = out;
  }
  for (let pass = 0; pass < PASSES; pass++) {
    blurLine(data, spare, { start: 0, step: width * 3, count: height }, width * 3, box);
    [data, spare] = [spare, data];
  }
  return { width, height, data };
}

/** A box of 2 * radius + 1 whole pixels and a share of one more on each side; weights in 24-bit fixed point. */
interface BlurBox {
  radius: number;
  weight: number;
  edgeWeight: number;
}

// Every step rounds to 32-bit float where Pillow's C code does.
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

/** Positions start, start + step, ... (count of them). */
interface Line {
  start: number;
  step: number;
  count: number;
}

/** One box blur along `lanes` neighbouring lines at once; positions past an end repeat the end. */
function blurLine(source: Uint8Array, out: Uint8Array, line: Line, lanes: number, box: BlurBox): void {
  const { start, step, count } = line;
  const { radius, weight, edgeWeight } = box;
  const last = count - 1;
  const at = (i: number) => start + Math.min(Math.max(i, 0), last) * step;
  const sums = new Int32Array(lanes);
  for (let i = -radius - 1; i < radius; i++) {
    const from = at(i);
    for (let lane = 0; lane < lanes; lane++) sums[lane]! += source[from + lane]!;
  }
  for (let i = 0; i < count; i++) {
    const enters = at(i + radius);
    const leaves = at(i - radius - 1);
    const beyond = at(i + radius + 1);
    const to = start + i * step;
    for (let lane = 0; lane < lanes; lane++) {
      const before = source[leaves + lane]!;
      const sum = sums[lane]! + source[enters + lane]! - before;
      sums[lane] = sum;
      const edges = before + source[beyond + lane]!;
      out[to + lane] = (Math.imul(sum, weight) + Math.imul(edges, edgeWeight) + (1 << 23)) >>> 24;
    }
  }
}
