// SPDX-License-Identifier: Apache-2.0
import { test } from 'node:test';
import { loadImage } from '../../src/pixels/decode.ts';
import { CLIP_MEAN, modelInput } from '../../src/pixels/model-input.ts';
import { assertSameImage, fixtureImage, type GoldenImage, readGolden } from './golden.ts';

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
    const plan = { mode, size, cropSize: { width: crop_size, height: crop_size }, imageMean: CLIP_MEAN };
    assertSameImage(modelInput(await loadImage(fixtureImage(image)), plan), golden, image);
  });
}
