// SPDX-License-Identifier: Apache-2.0
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { addDiffusionNoise, diffusionCoefficients, diffusionNormals } from '../../src/pixels/diffusion.ts';
import { philox4x32 } from '../../src/records/random.ts';
import { readGolden } from './golden.ts';

interface DiffusionGolden {
  schedule: { step: number; alpha_bar: number; signal: number; noise: number }[];
  words: { seed: number; block: number; words: number[] }[];
  normals: { seed: number; element: number; value: number }[];
  tensor: { values: number[] };
  noised: { step: number; seed: number; values: number[] }[];
}

const golden = readGolden<DiffusionGolden>('pixels/diffusion.json');

function assertNear(actual: number, expected: number, tolerance: number, what: string): void {
  assert.ok(Math.abs(actual - expected) <= tolerance, `${what}: ${actual}, expected ${expected}`);
}

test("the schedule is VCD's", () => {
  for (const { step, signal, noise } of golden.schedule) {
    const ours = diffusionCoefficients(step);
    assertNear(ours.signal, signal, 1e-12, `signal at ${step}`);
    assertNear(ours.noise, noise, 1e-12, `noise at ${step}`);
  }
  // Published values of alpha_bar.
  const published = { 100: 0.996589, 500: 0.744799, 800: 0.218102, 999: 0.081249 };
  for (const [step, value] of Object.entries(published)) {
    assertNear(diffusionCoefficients(Number(step)).signal ** 2, value, 1e-6, `alpha_bar at ${step}`);
  }
});

test('blocks are Philox of the seed and the block number', () => {
  for (const { seed, block, words } of golden.words) {
    const out = new Uint32Array(4);
    philox4x32(out, [block >>> 0, Math.floor(block / 2 ** 32), 0, 0], [seed >>> 0, Math.floor(seed / 2 ** 32)]);
    assert.deepEqual([...out], words, `seed ${seed}, block ${block}`);
  }
});

test('normals are Box-Muller of the block, at their element', () => {
  for (const { seed, element, value } of golden.normals) {
    assertNear(diffusionNormals(seed, element + 1)[element]!, value, 1e-6, `seed ${seed}, element ${element}`);
  }
});

test('normals have mean 0, variance 1, and no correlation within a block', () => {
  const values = diffusionNormals(7, 400_000);
  let [sum, squares, products] = [0, 0, 0];
  for (let i = 0; i < values.length; i += 2) {
    sum += values[i]! + values[i + 1]!;
    squares += values[i]! ** 2 + values[i + 1]! ** 2;
    products += values[i]! * values[i + 1]!;
  }
  assertNear(sum / values.length, 0, 0.01, 'mean');
  assertNear(squares / values.length, 1, 0.01, 'variance');
  assertNear((2 * products) / values.length, 0, 0.01, 'correlation');
});

test('noise is added to the tensor without clipping', () => {
  const tensor = Float32Array.from(golden.tensor.values);
  for (const { step, seed, values } of golden.noised) {
    const noised = addDiffusionNoise(tensor, step, seed);
    for (const [i, value] of values.entries()) assertNear(noised[i]!, value, 1e-6, `step ${step}, element ${i}`);
  }
});

test('a step outside the schedule is refused', () => {
  for (const step of [-1, 1000, 0.5, Number.NaN]) assert.throws(() => diffusionCoefficients(step), RangeError);
});
