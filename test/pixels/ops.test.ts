// SPDX-License-Identifier: Apache-2.0
// Covers src/pixels/affine.ts src/pixels/blur.ts src/pixels/color.ts src/pixels/geometry.ts src/pixels/image.ts src/pixels/resize.ts
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { loadImage } from '../../src/pixels/decode.ts';
import { applyPixelOp, PIXEL_OPS } from '../../src/pixels/ops.ts';
import type { ViewOp } from '../../src/records/record.ts';
import { assertSameImage, fixtureImage, type GoldenImage, readGolden } from './golden.ts';

interface OpCase extends GoldenImage {
  image: string;
  op: ViewOp;
}

const { cases } = readGolden<{ cases: OpCase[] }>('augment/ops.json');

for (const name of Object.keys(PIXEL_OPS)) {
  test(`${name} equals torchvision on PIL images, byte for byte`, async () => {
    const mine = cases.filter(({ op }) => op.op === name);
    assert.ok(mine.length >= 8, `${mine.length} cases`);
    for (const { image, op, ...golden } of mine) {
      const result = applyPixelOp(await loadImage(fixtureImage(image)), op);
      assertSameImage(result, golden, `${image} ${JSON.stringify(op)}`);
    }
  });
}

test('an invalid recorded operation is an error with the valid ones', () => {
  const image = { width: 2, height: 2, data: new Uint8Array(12) };
  const refused: [op: ViewOp, message: RegExp][] = [
    [{ op: 'swirl' }, /^op: expected one of hflip .*, got "swirl"$/],
    [{ op: 'constructor' }, /^op: expected one of/],
    [{ op: 'rotate' }, /^rotate: degrees: expected a number in -36000..36000, got nothing$/],
    [{ op: 'rotate', degrees: '9' }, /^rotate: degrees: expected a number .*, got "9"$/],
    [
      { op: 'rotate', degrees: 9, filter: 'box' },
      /^rotate: filter: expected one of nearest bilinear bicubic, got "box"$/,
    ],
    [{ op: 'posterize', bits: 2.5 }, /^posterize: bits: expected a whole number in 0..8, got 2.5$/],
    [{ op: 'crop', left: 0, top: 0, width: 0, height: 4 }, /^crop: width: expected a whole number in 1..65535, got 0$/],
    [{ op: 'pad', fill: [1, 2] }, /^pad: fill: expected 3 numbers in 0..255, got \[1,2\]$/],
    [{ op: 'perspective', corners: [0, 0, 1, 1, 2, 2, 3, 3] }, /no three in a line/],
  ];
  for (const [op, message] of refused) assert.throws(() => applyPixelOp(image, op), { message });
});
