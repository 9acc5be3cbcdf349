// SPDX-License-Identifier: Apache-2.0
// Diffusion noise on a normalised image tensor: x_t = sqrt(abar_t) x + sqrt(1 - abar_t) eps, unclipped.
// Source: Leng et al., "Mitigating object hallucinations ... visual contrastive decoding" (2311.16922), vcd_add_noise.
//
// The noise is counter-based, so all backends generate the same numbers (fixtures/golden/pixels/diffusion.json):
//   element   index c * H * W + y * W + x of the CHW tensor
//   block     Philox 4x32-10 with key = (seed mod 2^32, floor(seed / 2^32)) and counter = (b mod 2^32, floor(b / 2^32), 0, 0), b = floor(element / 4)
//   uniform   u_j = (word_j + 0.5) * 2^-32 for the block's words 0..3, in f64
//   normal    elements 4b, 4b+1: sqrt(-2 ln u_0) * (cos, sin)(2 pi u_1);  elements 4b+2, 4b+3: the same of u_2, u_3; rounded to f32
import { philox4x32 } from '../records/random.ts';

/** Steps of the schedule; `step` is a 0-based index into it. */
export const NUM_DIFFUSION_STEPS = 1000;

/** sqrt(abar) and sqrt(1 - abar) after `step`: betas sigmoid(linspace(-6, 6, 1000)) * (0.005 - 1e-5) + 1e-5. */
export function diffusionCoefficients(step: number): { signal: number; noise: number } {
  if (!Number.isInteger(step) || step < 0 || step >= NUM_DIFFUSION_STEPS)
    throw new RangeError(`step: expected a whole number in 0..${NUM_DIFFUSION_STEPS - 1}, got ${step}`);
  let kept = 1;
  for (let t = 0; t <= step; t++) {
    const place = -6 + (12 * t) / (NUM_DIFFUSION_STEPS - 1);
    kept *= 1 - ((0.005 - 1e-5) / (1 + Math.exp(-place)) + 1e-5);
  }
  return { signal: Math.sqrt(kept), noise: Math.sqrt(1 - kept) };
}

/** Standard normal draws for elements 0..count-1. seed: whole number in [0, 2^53). */
export function diffusionNormals(seed: number, count: number): Float32Array {
  const key: [number, number] = [seed >>> 0, Math.floor(seed / 2 ** 32)];
  const words = new Uint32Array(4);
  const out = new Float32Array(count);
  for (let block = 0; block * 4 < count; block++) {
    philox4x32(words, [block >>> 0, Math.floor(block / 2 ** 32), 0, 0], key);
    for (let pair = 0; pair < 4; pair += 2) {
      const radius = Math.sqrt(-2 * Math.log((words[pair]! + 0.5) / 2 ** 32));
      const angle = 2 * Math.PI * ((words[pair + 1]! + 0.5) / 2 ** 32);
      // Writes past the end are dropped.
      out[block * 4 + pair] = radius * Math.cos(angle);
      out[block * 4 + pair + 1] = radius * Math.sin(angle);
    }
  }
  return out;
}

/** The noised tensor, in f32 as in the engine. */
export function addDiffusionNoise(tensor: Float32Array, step: number, seed: number): Float32Array {
  const { signal, noise } = diffusionCoefficients(step);
  const normals = diffusionNormals(seed, tensor.length);
  return tensor.map((value, i) => Math.fround(signal) * value + Math.fround(noise) * normals[i]!);
}
