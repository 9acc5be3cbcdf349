// SPDX-License-Identifier: Apache-2.0
// Processor files in every style met, and what of them is refused by name.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import type { CheckpointFiles, ImagePlan, JsonObject } from '../../families/family.ts';
import { familyNamed } from '../../families/index.ts';
import { FAMILY_FIXTURES } from '../support/families.ts';

const json = (path: string): JsonObject => JSON.parse(readFileSync(`${FAMILY_FIXTURES}/${path}`, 'utf8'));

/** A plan from the tiny checkpoint's files with changes. */
function planOf(name: string, changes: JsonObject, others: Partial<CheckpointFiles> = {}): ImagePlan {
  const imageProcessor = { ...json(`${name}/ckpt/preprocessor_config.json`), ...changes };
  const files = { dir: 'DIR', config: json(`${name}/ckpt/config.json`), processor: {}, imageProcessor, ...others };
  return familyNamed(name).vision!.readPlan(files);
}

const limits = ({ minPixels, maxPixels }: ImagePlan) => [minPixels, maxPixels];
const NO_LIMITS = { min_pixels: null, max_pixels: null };

test('pixel limits: of their own, in size, under old names in size, by class default', () => {
  assert.deepEqual(limits(planOf('qwen2_vl', {})), [4704, 15680]);
  const edges = { shortest_edge: 900, longest_edge: 9000 };
  assert.deepEqual(limits(planOf('qwen2_vl', { ...NO_LIMITS, size: edges })), [900, 9000]);
  assert.deepEqual(limits(planOf('qwen2_vl', { size: edges })), [4704, 15680]);
  const old = { min_pixels: 800, max_pixels: 8000 };
  assert.deepEqual(limits(planOf('qwen2_vl', { ...NO_LIMITS, size: old })), [800, 8000]);
  assert.deepEqual(limits(planOf('qwen2_vl', NO_LIMITS)), [3136, 1003520]);
  assert.deepEqual(limits(planOf('qwen2_vl', { max_pixels: null })), [4704, 1003520]);
});

test('keys without a value are not there', () => {
  const saved = { crop_size: null, do_center_crop: null, do_pad: null, device: null, size: null, resample: null };
  assert.deepEqual(planOf('qwen2_5_vl', saved), planOf('qwen2_5_vl', {}));
});

test('the numbers of the normalisation', () => {
  const { mean, std, scale } = planOf('qwen3_vl', {}).normalisation;
  assert.deepEqual([mean, std, scale], [[0.5, 0.5, 0.5], [0.5, 0.5, 0.5], 1 / 255]);
  const raw = planOf('smolvlm', { do_rescale: false, do_normalize: false }).normalisation;
  assert.deepEqual(raw, { mean: [0, 0, 0], std: [1, 1, 1], scale: 1 });
  // A sparse file has the class's, not the family's.
  const sparse = { image_mean: null, image_std: null };
  assert.equal(planOf('qwen2_vl', sparse).normalisation.mean[0], 0.48145466);
  assert.equal(planOf('smolvlm', sparse).normalisation.mean[0], 0.5);
});

test('a size as a number, as an edge, as both sides', () => {
  for (const size of [42, { shortest_edge: 42 }, { height: 42, width: 42 }, { shortest_edge: 42, longest_edge: null }])
    assert.deepEqual(planOf('llava_next', { size, crop_size: 42 }), planOf('llava_next', {}));
});

const REFUSED: [name: string, changes: JsonObject, message: RegExp, others?: Partial<CheckpointFiles>][] = [
  ['qwen2_vl', { do_resize: false }, /DIR: image processor: do_resize: expected true, got false/],
  ['qwen2_vl', { do_center_crop: true }, /do_center_crop: expected false, got true/],
  ['qwen2_vl', { do_reduce_labels: true }, /do_reduce_labels: expected false/],
  ['qwen2_vl', { do_normalize: 'no' }, /do_normalize: expected true or false, got "no"/],
  ['qwen2_vl', { resample: 9 }, /resample: expected 0..5, got 9/],
  ['qwen2_vl', { image_mean: [1, 2] }, /image_mean: expected three numbers/],
  ['qwen2_vl', { image_std: [0, 1, 1] }, /image_std: expected positive numbers/],
  ['qwen2_vl', { patch_size: 16 }, /patch_size: expected 14 as vision_config\.patch_size says, got 16/],
  ['qwen3_vl', { patch_size: null }, /patch_size: expected 16 \(vision_config\.patch_size\), got nothing/],
  ['qwen2_vl', { merge_size: 4 }, /merge_size: expected 2/],
  ['qwen2_vl', { temporal_patch_size: 1 }, /temporal_patch_size: expected 2/],
  ['qwen2_vl', { min_pixels: 20000 }, /min_pixels: expected at most max_pixels \(15680\)/],
  [
    'qwen2_vl',
    { ...NO_LIMITS, size: { longest_edge: 9000 } },
    /size: shortest_edge: expected a whole number above 0, got nothing/,
  ],
  ['qwen2_vl', { size: { height: 56, width: 56 } }, /size: height: expected shortest_edge and longest_edge alone/],
  ['qwen2_vl', { size: 56 }, /size: expected an object, got 56/],
  [
    'qwen2_5_vl',
    { image_processor_type: 'CLIPImageProcessor' },
    /image_processor_type: expected Qwen2VLImageProcessor/,
  ],
  ['smolvlm', { size: { height: 128, width: 128 } }, /size: height: expected longest_edge alone/],
  ['smolvlm', { max_image_size: { longest_edge: 128 } }, /vision_config: image_size: expected 128 \(max_image_size/],
  [
    'smolvlm',
    {},
    /image_seq_len: expected 4 as a tile of this size says, got 64/,
    { processor: { image_seq_len: 64 } },
  ],
  ['smolvlm', { do_center_crop: true }, /do_center_crop: expected false/],
  [
    'llava_next',
    { image_grid_pinpoints: [[42, 84]] },
    /DIR\/config\.json: image_grid_pinpoints: expected \[\[42,84\]\] \(from the image processor\)/,
  ],
  [
    'llava_next',
    { image_grid_pinpoints: [[40, 84]] },
    /image_grid_pinpoints: expected \[height, width\] pairs, multiples of 42/,
  ],
  ['llava_next', { size: { shortest_edge: 84 } }, /size: expected 42 \(vision_config\.image_size\)/],
  ['llava_next', { size: null }, /size: expected 42/],
  ['llava_next', { crop_size: { height: 42, width: 84 } }, /crop_size: expected 42/],
  ['llava_next', { aspect_ratio_setting: 'pad' }, /aspect_ratio_setting: expected "anyres"/],
  [
    'llava_next',
    {},
    /patch_size: expected 14 as vision_config\.patch_size says, got 16/,
    { processor: { patch_size: 16 } },
  ],
  [
    'qwen3_vl',
    {},
    /expected preprocessor_config\.json, or processor_config\.json with an image_processor, got neither/,
    { imageProcessor: undefined },
  ],
];
for (const [name, changes, message, others] of REFUSED)
  test(`${name}: ${JSON.stringify(changes)} ${JSON.stringify(others ?? '')} is refused by name`, () =>
    assert.throws(() => planOf(name, changes, others), message));
