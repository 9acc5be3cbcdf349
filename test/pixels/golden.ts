// SPDX-License-Identifier: Apache-2.0
// Reading of fixtures/golden and comparison of images with what it holds.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import type { Image } from '../../src/pixels/image.ts';

/** What a golden says of an image; `data` is base64 of the RGB bytes, given for a few. */
export interface GoldenImage {
  width: number;
  height: number;
  sha256: string;
  data?: string;
}

export function readGolden<T>(name: string): T {
  return JSON.parse(readFileSync(new URL(`../../fixtures/golden/${name}`, import.meta.url), 'utf8'));
}

export function fixtureImage(name: string): string {
  return new URL(`../../fixtures/images/${name}`, import.meta.url).pathname;
}

export function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}

export function assertSameImage(actual: Image, golden: GoldenImage, what: string): void {
  assert.deepEqual([actual.width, actual.height], [golden.width, golden.height], `${what}: size`);
  assert.equal(actual.data.length, golden.width * golden.height * 3, `${what}: bytes`);
  if (golden.data !== undefined) {
    assert.deepEqual([...actual.data], [...Buffer.from(golden.data, 'base64')], what);
  }
  assert.equal(sha256(actual.data), golden.sha256, `${what}: pixels`);
}
