// SPDX-License-Identifier: Apache-2.0
// The shape of a picture that is not decoded is that of the crops that decoding gives.
import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { familyNamed } from '../../families/index.ts';
import { imageLoader, readFamilyPlan, shapeReader } from '../../src/model/images.ts';
import { createPixelPool } from '../../src/pixels/pool.ts';
import type { ViewOp } from '../../src/records/record.ts';
import { FAMILY_FIXTURES } from '../support/families.ts';

const pool = createPixelPool(1);
after(() => pool.close());

const SOURCES = ['photo.jpg', 'exif-6.jpg', 'wide.png', 'transparent.gif', 'gray.png', 'exif-6.webp'];
const OPS: ViewOp[][] = [
  [],
  [{ op: 'hflip' }],
  [{ op: 'crop', left: 1, top: 2, width: 90, height: 33 }],
  [
    { op: 'rotate', degrees: 30, expand: 1 },
    { op: 'diffusion', step: 3, seed: 1 },
  ],
];

for (const name of ['qwen2_vl', 'smolvlm', 'llava_next'])
  test(`${name}: shapes without decoding`, async () => {
    const { family, plan } = await readFamilyPlan(`${FAMILY_FIXTURES}/${name}/ckpt`);
    const [load, shapeOf] = [imageLoader(pool, family), shapeReader(family)];
    for (const file of SOURCES)
      for (const ops of OPS) {
        const source = `fixtures/images/${file}`;
        const { crops, ...size } = await load(source, plan!, ops);
        const sizes = crops.map(({ height, width }) => ({ height, width }));
        const shape = await shapeOf(source, plan!, ops);
        assert.deepEqual(
          { ...size, crops: sizes },
          { height: shape.height, width: shape.width, crops: shape.crops },
          file,
        );
        for (const { height, width, pixels } of crops) assert.equal(pixels.length, height * width * 3);
      }
  });

test('images that are all resized to one size only need to exist', async () => {
  const { family, plan } = await readFamilyPlan('fixtures/tiny-mha');
  assert.equal(family, familyNamed('llava'));
  const shapeOf = shapeReader(family);
  assert.deepEqual((await shapeOf('fixtures/images/truncated.jpg', plan!)).crops, [{ height: 56, width: 56 }]);
  await assert.rejects(shapeOf('fixtures/images/absent.png', plan!), /no such file/);
});
