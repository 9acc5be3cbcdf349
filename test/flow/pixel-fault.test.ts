// SPDX-License-Identifier: Apache-2.0
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { pixelFault } from '../../src/flow/pixel-fault.ts';
import { PixelError } from '../../src/pixels/pixel-error.ts';

const row = { record: { id: 'a', prompt: 'q', images: ['a.png', 'b.png'] }, source: 'f', line: 3 };

test('a bad image is named by its place among the images of the record', () => {
  const error = new PixelError('image', 'b.png', 'an image file', 'a directory');
  assert.equal(
    (pixelFault(row, error) as Error).message,
    'f:3: images[1]: expected an image file, got b.png: a directory',
  );
  assert.match((pixelFault(row, error, 0) as Error).message, /^f:3: images\[0\]: /);
});

test('a bad recorded operation is named by the operation', () => {
  const error = new PixelError('op', 'rotate: degrees', 'a number', 'nothing');
  assert.equal(
    (pixelFault(row, error) as Error).message,
    'f:3: views: rotate: degrees: expected a number, got nothing',
  );
});

test('other errors stay unchanged', () => {
  const full = new Error('no space left on device');
  assert.equal(pixelFault(row, full), full);
});
