// SPDX-License-Identifier: Apache-2.0
// Covers families/llava/llava.ts
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { familyNamed } from '../../families/index.ts';
import { loadImage } from '../../src/pixels/decode.ts';
import { assertSameImage, fixtureImage, type GoldenImage, readGolden } from '../pixels/golden.ts';
import { squarePlan } from '../support/families.ts';

interface ModelInputCase extends GoldenImage {
  image: string;
  mode: 'pad' | 'crop';
  size: number;
  crop_size: number;
}

const { cases } = readGolden<{ cases: ModelInputCase[] }>('pixels/model-input.json');

for (const { image, mode, size, crop_size, ...golden } of cases) {
  const reference = mode === 'pad' ? "the original LLaVA's padding" : 'CLIPImageProcessor';
  test(`${image} at ${size}, cut to ${crop_size}, equals ${reference}`, async () => {
    const plan = squarePlan(mode, size, crop_size);
    const crops = familyNamed('llava').vision!.crops(await loadImage(fixtureImage(image)), plan);
    assertSameImage(crops[0]!, golden, image);
    assert.equal(crops.length, 1);
  });
}
