// SPDX-License-Identifier: Apache-2.0
// How a checkpoint's processor files are read: one plan for the pixels here and the numbers in the engine.
// Covers native/model/load.cc src/model/images.ts
import assert from 'node:assert/strict';
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import type { ImagePlan } from '../../families/family.ts';
import { familyNamed } from '../../families/index.ts';
import { readFamilyPlan } from '../../src/model/images.ts';
import { loadImage } from '../../src/pixels/decode.ts';
import { resizeImage } from '../../src/pixels/resize.ts';
import { withoutEngine } from '../support/native.ts';
import { runCli } from '../support/run-cli.ts';

const root = mkdtempSync(join(tmpdir(), 'vpref-load-model-'));
after(() => rmSync(root, { recursive: true, force: true }));
let folders = 0;
const OLD = JSON.parse(readFileSync('fixtures/tiny-mha/preprocessor_config.json', 'utf8'));

function copyWith(nested: object | undefined, old: object | undefined): string {
  const dir = join(root, String(folders++));
  cpSync('fixtures/tiny-mha', dir, { recursive: true });
  const processor = JSON.parse(readFileSync(join(dir, 'processor_config.json'), 'utf8'));
  if (nested !== undefined) processor.image_processor = nested;
  writeFileSync(join(dir, 'processor_config.json'), JSON.stringify(processor));
  if (old === undefined) rmSync(join(dir, 'preprocessor_config.json'));
  else writeFileSync(join(dir, 'preprocessor_config.json'), JSON.stringify(old));
  return dir;
}

const planOf = async (changes: object) => {
  const { plan } = await readFamilyPlan(copyWith(undefined, { ...OLD, ...changes }));
  return plan as SquarePlan;
};
type SquarePlan = ImagePlan & { size: number; keepsAspect?: false; padsFirst: boolean };

test('size as a number, as the shorter edge, as both edges', async () => {
  for (const size of [56, { shortest_edge: 56 }, { shortest_edge: 56, longest_edge: null }, undefined]) {
    const { keepsAspect, ...plan } = await planOf({ size });
    assert.deepEqual([plan.size, keepsAspect, plan.padsFirst], [56, undefined, false]);
  }
  const exact = await planOf({ size: { height: 56, width: 56 }, do_center_crop: false });
  assert.equal(exact.keepsAspect, false);
  const wide = await loadImage('fixtures/images/wide.png');
  const [made] = familyNamed('llava').vision!.crops(wide, { ...exact, mode: 'crop' });
  assert.deepEqual(made!.data, resizeImage(wide, 56, 56, 'bicubic').data);
});

const REFUSED: [changes: object, message: RegExp][] = [
  [{ size: 64 }, /size: expected 56/],
  [{ size: { height: 56, width: 64 } }, /size: expected 56/],
  [{ size: { shortest_edge: 56, longest_edge: 99 } }, /size: expected 56/],
  [{ size: { max_height: 56, max_width: 56 } }, /size: expected 56/],
  [{ size: 'big' }, /size: expected 56/],
  [{ crop_size: { height: 56, width: 40 } }, /crop_size: expected 56/],
  [{ do_center_crop: false }, /do_center_crop: expected true/],
  [{ do_resize: false }, /do_resize: expected true/],
  [{ do_convert_rgb: false }, /do_convert_rgb: expected true/],
  [{ do_pad: true }, /do_pad: expected false/],
  [{ do_pad: 'yes' }, /do_pad: expected true or false/],
  [{ resample: 9 }, /resample/],
  [{ image_processor_type: 'Qwen2VLImageProcessor' }, /image_processor_type/],
];
for (const [changes, message] of REFUSED)
  test(`a processor with ${JSON.stringify(changes)} is refused by name`, () =>
    assert.rejects(planOf(changes), message));

test("LlavaImageProcessor's own square", async () => {
  const { padsFirst } = await planOf({ image_processor_type: 'LlavaImageProcessor', do_pad: true });
  assert.ok(padsFirst);
});

test('the nested processor comes before an older file, for pixels and for their numbers', {
  skip: withoutEngine,
}, async () => {
  const nested = { ...OLD, image_mean: [0.5, 0.4, 0.3], image_std: [0.2, 0.25, 0.3], do_rescale: true };
  const input = `${JSON.stringify({ id: 'a', images: ['fixtures/images/photo.png'], prompt: 'What?', chosen: 'A ball.', rejected: 'No.' })}\n`;
  const sum = async (dir: string, mode = 'crop') => {
    const { code, stdout, stderr } = await runCli(['score', '-q', '--model', dir, '--image-mode', mode], { input });
    assert.equal(code, 0, stderr);
    return JSON.parse(stdout).policy_chosen_logps as number;
  };
  for (const mode of ['crop', 'pad']) {
    const alone = await sum(copyWith(nested, undefined), mode);
    assert.equal(await sum(copyWith(nested, OLD), mode), alone);
    assert.equal(await sum(copyWith(undefined, nested), mode), alone);
    assert.notEqual(await sum(copyWith(undefined, OLD), mode), alone);
  }
  // Flags that the engine acts on are no error.
  const plain = { ...OLD, image_mean: [0, 0, 0], image_std: [1, 1, 1] };
  assert.equal(await sum(copyWith(undefined, { ...OLD, do_normalize: false })), await sum(copyWith(undefined, plain)));
  const raw = { ...OLD, rescale_factor: 1 };
  assert.equal(await sum(copyWith(undefined, { ...OLD, do_rescale: false })), await sum(copyWith(undefined, raw)));
});
