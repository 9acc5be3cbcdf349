// SPDX-License-Identifier: Apache-2.0
// Covers src/pixels/gif.ts
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { decodeImage, encodePng, loadImage } from '../../src/pixels/decode.ts';
import { RunError } from '../../src/records/error.ts';
import { randomStream } from '../../src/records/random.ts';
import { assertSameImage, fixtureImage, type GoldenImage, readGolden } from './golden.ts';

const { images } = readGolden<{ images: Record<string, GoldenImage> }>('pixels/decode.json');
// PIL reads BMP; we say that we do not.
const names = Object.keys(images).filter((name) => !name.endsWith('.bmp'));

for (const name of names) {
  test(`${name} decodes to what PIL sees`, async () => {
    assertSameImage(await loadImage(fixtureImage(name)), images[name]!, name);
  });
}

const refused: [name: string, message: RegExp][] = [
  ['truncated.jpg', /truncated\.jpg: expected a whole JPEG image, got .*broken, or cut short/],
  ['truncated.png', /expected a whole PNG image, got/],
  ['bomb.png', /expected a whole PNG image, got .*more than 178956970 pixels/],
  ['empty.png', /expected a JPEG, .* or AVIF image, got an empty file/],
  ['text.png', /got a file that begins with "not an im"/],
  ['photo.bmp', /got a BMP image/],
  ['drawing.svg', /got an SVG or XML file/],
  ['absent.png', /absent\.png: expected an image file, got no such file/],
  ['.', /expected an image file, got a directory/],
];
for (const [name, message] of refused) {
  test(`${name} is refused with a reason`, async () => {
    await assert.rejects(
      loadImage(fixtureImage(name)),
      (error) => error instanceof RunError && message.test(error.message),
    );
  });
}

test('a data: URI holds an image in base64 or percent-encoded', async () => {
  const bytes = readFileSync(fixtureImage('photo.png'));
  const plain = await decodeImage(bytes, 'photo.png');
  const percent = [...bytes].map((byte) => `%${byte.toString(16).padStart(2, '0')}`).join('');
  for (const uri of [`data:image/png;base64,${bytes.toString('base64')}`, `data:,${percent}`]) {
    assert.deepEqual(await loadImage(uri), plain);
  }
});

test('a broken data: URI is refused without printing it', async () => {
  for (const uri of [
    'data:image/png;base64',
    `data:image/png;base64,${'%%%%'.repeat(100)}`,
    'data:image/png;base64,AAAA',
  ]) {
    await assert.rejects(loadImage(uri), (error) => error instanceof RunError && error.message.length < 200);
  }
});

test('damaged files give an image or a RunError, nothing else', async () => {
  for (const name of ['photo.jpg', 'photo.png', 'transparent.gif', 'interlaced.gif', 'photo.webp', 'photo.tif']) {
    const bytes = readFileSync(fixtureImage(name));
    const random = randomStream(1, name);
    for (let round = 0; round < 40; round++) {
      const damaged = Buffer.from(bytes.subarray(0, round % 2 === 0 ? bytes.length : random.nextInt(bytes.length)));
      for (let i = 0; i < 4 && damaged.length > 0; i++) damaged[random.nextInt(damaged.length)] = random.nextInt(256);
      await decodeImage(damaged, name).catch((error) =>
        assert.ok(error instanceof RunError, `${name}: ${error.stack}`),
      );
    }
  }
});

test('an encoded PNG holds the same pixels, and the same bytes each time', async () => {
  const image = await loadImage(fixtureImage('photo.png'));
  const png = await encodePng(image);
  assert.deepEqual(await encodePng(image), png);
  assert.deepEqual(await decodeImage(png, 'again.png'), image);
});
