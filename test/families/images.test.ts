// SPDX-License-Identifier: Apache-2.0
// The images of the tiny checkpoints against transformers' PIL processors: every byte, grids, resolutions, and the same from every layout of the files.
// Covers families/family.ts families/index.ts families/processor-settings.ts families/llava_next/llava_next.ts families/smolvlm/smolvlm.ts
// Covers families/qwen2_vl/qwen2_vl.ts families/qwen2_5_vl/qwen2_5_vl.ts families/qwen3_vl/qwen3_vl.ts
import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import type { ImagePlan, Size } from '../../families/family.ts';
import { bestResolution } from '../../families/llava_next/llava_next.ts';
import { readFamilyPlan } from '../../src/model/images.ts';
import { loadImage } from '../../src/pixels/decode.ts';
import type { Image } from '../../src/pixels/image.ts';
import { fixtureDir, fixtureImage, type GoldenRow, goldenRows, OWN } from '../support/families.ts';
import { readSafetensors } from '../support/safetensors.ts';

/** The pictures of a row as the golden names their grids. */
const GRIDS: Record<string, (row: GoldenRow, sizes: Size[], plan: ImagePlan) => void> = {
  llava_next: ({ best_resolution_hw: best = [] }, sizes, plan) => {
    const { pinpoints } = plan as ImagePlan & { pinpoints: [number, number][] };
    const found = sizes.map((size) => bestResolution(size, pinpoints)).map(({ height, width }) => [height, width]);
    assert.deepEqual(found, best);
  },
};

for (const name of ['llava_next', 'smolvlm', 'qwen2_vl', 'qwen2_5_vl', 'qwen3_vl', ...OWN])
  for (const layout of existsSync(`${fixtureDir(name)}/alt-v5`) ? ['ckpt', 'alt-v5'] : ['ckpt'])
    test(`${name}, files as in ${layout}: crops, byte for byte`, async () => {
      const { family, plan } = await readFamilyPlan(`${fixtureDir(name)}/${layout}`);
      const vision = family.vision!;
      const golden = readSafetensors(`${fixtureDir(name)}/golden.safetensors`);
      let compared = 0;
      for (const row of goldenRows(name)) {
        const images = await Promise.all(row.images.map((file) => loadImage(fixtureImage(name, file))));
        const crops = images.map((image) => vision.crops(image, plan!));
        const sizes = crops.map((list) => list.map(({ height, width }) => ({ height, width })));
        assert.deepEqual(
          sizes,
          images.map((image) => vision.cropSizes(image, plan!)),
        );
        GRIDS[name]?.(row, images, plan!);
        for (const [index, [, high, wide]] of (row.image_grid_thw ?? []).entries()) {
          const { patch_size: patch } = JSON.parse(
            readFileSync(`${fixtureDir(name)}/ckpt/config.json`, 'utf8'),
          ).vision_config;
          assert.deepEqual(sizes[index], [{ height: high * patch, width: wide * patch }]);
        }
        for (const [index, count] of (row.rows?.[0] ?? []).entries())
          assert.equal(crops[index]!.length, count * row.cols![0]![index]! + 1, row.id);
        for (const [index, made] of crops.entries()) {
          // The published checkpoints' goldens have the first picture's alone.
          const key = index === 0 ? `pixels_u8/${row.id}` : '';
          const pixels = golden.get(`pixels_u8/${row.id}/${index}`) ?? golden.get(key);
          if (pixels === undefined) continue;
          assert.equal(Buffer.compare(name.startsWith('qwen') ? made[0]!.data : planes(made), pixels), 0, row.id);
          compared += 1;
        }
      }
      assert.ok(compared >= 4);
    });

/** [n, 3, height, width] */
function planes(crops: Image[]): Uint8Array {
  const size = crops[0]!.height * crops[0]!.width;
  const out = new Uint8Array(crops.length * 3 * size);
  for (const [n, { data }] of crops.entries())
    for (let i = 0; i < size; i++) for (let c = 0; c < 3; c++) out[(n * 3 + c) * size + i] = data[i * 3 + c]!;
  return out;
}
