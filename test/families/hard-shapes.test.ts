// SPDX-License-Identifier: Apache-2.0
// Pictures of hard shapes, under changed settings, against transformers' PIL processors (scripts/goldens/families.py): sizes and bytes of the crops,
// what is refused, and the ids of a prompt with the picture.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { familyNamed } from '../../families/index.ts';
import { imageMarks } from '../../src/model/load.ts';
import { PixelError } from '../../src/pixels/pixel-error.ts';
import { loadChatTemplate } from '../../src/text/chat-template.ts';
import { expandImages, imageIds, promptIds } from '../../src/text/prompt-ids.ts';
import { loadTokenizer } from '../../src/text/tokenizer.ts';
import { readGolden } from '../pixels/golden.ts';
import { FAMILY_FIXTURES, hardPicture, referenceRuns, VISION_FAMILIES } from '../support/families.ts';

interface Golden {
  plans: {
    settings: Record<string, unknown>;
    cases: { width: number; height: number; crops?: [number, number][]; sha256?: string; refused?: string }[];
  }[];
  scored: { width: number; height: number; prompt_ids: [number, number][] }[];
}

for (const name of VISION_FAMILIES) {
  const golden = readGolden<Golden>(`families/${name}.json`);
  const dir = `${FAMILY_FIXTURES}/${name}/ckpt`;
  const vision = familyNamed(name).vision!;
  const planWith = (settings: Record<string, unknown>) => {
    const read = (file: string) => JSON.parse(readFileSync(`${dir}/${file}`, 'utf8'));
    const config = { ...read('config.json') };
    if (settings.image_grid_pinpoints) config.image_grid_pinpoints = settings.image_grid_pinpoints;
    const imageProcessor = { ...read('preprocessor_config.json'), ...settings };
    return vision.readPlan({ dir, config, processor: {}, imageProcessor });
  };
  for (const { settings, cases } of golden.plans)
    test(`${name}, ${JSON.stringify(settings)}: ${cases.length} hard shapes`, () => {
      const plan = planWith(settings);
      for (const { width, height, crops, sha256, refused } of cases) {
        const what = `${width} x ${height}`;
        const make = () => vision.crops(hardPicture(width, height), plan);
        if (refused !== undefined) {
          assert.throws(make, PixelError, `${what}: ${refused}`);
          assert.throws(() => vision.cropSizes({ width, height }, plan), PixelError);
          continue;
        }
        const made = make();
        assert.deepEqual(
          made.map((crop) => [crop.height, crop.width]),
          crops,
          what,
        );
        assert.deepEqual(
          vision.cropSizes({ width, height }, plan).map((crop) => [crop.height, crop.width]),
          crops,
        );
        const hash = createHash('sha256');
        for (const { data } of made) hash.update(data);
        assert.equal(hash.digest('hex'), sha256, `${what}: pixels`);
      }
    });

  test(`${name}: ids of a prompt with a picture of a hard shape`, async () => {
    const plan = planWith({});
    const tokenizer = await loadTokenizer(dir);
    const template = await loadChatTemplate('auto', dir, tokenizer, { image: imageMarks(vision) });
    const image = { id: tokenizer.tokenId(vision.imageToken)!, token: vision.imageToken };
    const prompt = promptIds(
      [{ role: 'user', content: [{ type: 'image' }, { type: 'text', text: 'What is it?' }] }],
      1,
      template,
      tokenizer,
      image,
    );
    for (const { width, height, prompt_ids: runs } of golden.scored) {
      const size = { width, height };
      const rows = referenceRuns(name, size, vision.cropSizes(size, plan), plan);
      const ids = imageIds(vision.expansion(size, plan), rows, image, tokenizer);
      const expected = runs.flatMap(([id, count]) => new Array<number>(count).fill(id));
      assert.deepEqual([...expandImages(prompt.ids, image, [ids])], expected, `${width} x ${height}`);
    }
  });
}
