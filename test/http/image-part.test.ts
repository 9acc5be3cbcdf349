// SPDX-License-Identifier: Apache-2.0
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import sharp from 'sharp';
import { limitsOf, loadImagePart, loadImageParts, readImageBytes } from '../../src/http/image-part.ts';
import { imageHeader } from '../../src/records/image-header.ts';

const folder = mkdtempSync(join(tmpdir(), 'vpref-parts-'));
after(() => rmSync(folder, { recursive: true }));

const limits = { mediaTypes: ['image/png', 'image/jpeg', 'image/webp', 'image/gif'], maxBytes: 1_000_000 };
const blank = () => sharp({ create: { width: 321, height: 123, channels: 3, background: 'red' } });

test('kind and size from the first bytes, for every kind an API takes', async () => {
  const made = {
    'image/png': blank().png(),
    'image/jpeg': blank().jpeg(),
    'image/gif': blank().gif(),
    'image/webp': blank().webp(),
  };
  for (const [mediaType, image] of Object.entries(made)) {
    assert.deepEqual(imageHeader(await image.toBuffer()), { mediaType, width: 321, height: 123 });
  }
  const lossless = imageHeader(await blank().webp({ lossless: true }).toBuffer());
  assert.deepEqual([lossless?.width, lossless?.height], [321, 123]);
  const alpha = blank().ensureAlpha(0.5).webp({ quality: 50 });
  assert.deepEqual(imageHeader(await alpha.toBuffer())?.height, 123);
  const progressive = imageHeader(
    await blank()
      .jpeg({ progressive: true })
      .withExif({ IFD0: { Artist: 'x'.repeat(5000) } })
      .toBuffer(),
  );
  assert.deepEqual([progressive?.width, progressive?.height], [321, 123]);
});

test('bytes that are no image, or cut ones, have no header and do no harm', async () => {
  const jpeg = await blank().jpeg().toBuffer();
  assert.equal(imageHeader(Buffer.from('BM123456789012345678901234567890')), undefined);
  assert.equal(imageHeader(Buffer.alloc(0)), undefined);
  for (let length = 0; length < jpeg.length; length += 7) imageHeader(jpeg.subarray(0, length));
  assert.deepEqual(imageHeader(jpeg.subarray(0, 20)), { mediaType: 'image/jpeg', width: 0, height: 0 });
});

test('what the API takes goes as it is, to the byte', async () => {
  const file = join(folder, 'a.jpg');
  const bytes = await blank().jpeg().toBuffer();
  writeFileSync(file, bytes);
  const part = await loadImagePart(file, limits, 'images[0]');
  const sha256 = createHash('sha256').update(bytes).digest('hex');
  assert.deepEqual(part, {
    mediaType: 'image/jpeg',
    width: 321,
    height: 123,
    base64: bytes.toString('base64'),
    sha256,
  });
});

test('another kind becomes PNG with the same pixels; a file over the limit a smaller JPEG', async () => {
  const file = join(folder, 'a.tiff');
  writeFileSync(file, await blank().tiff({ compression: 'lzw' }).toBuffer());
  const part = await loadImagePart(file, limits, 'images[0]');
  assert.equal(part.mediaType, 'image/png');
  const pixels = await sharp(Buffer.from(part.base64, 'base64')).removeAlpha().raw().toBuffer();
  assert.deepEqual(pixels, await blank().raw().toBuffer());
  const noisy = join(folder, 'noise.png');
  const noise = {
    width: 3000,
    height: 1500,
    channels: 3 as const,
    noise: { type: 'gaussian' as const, mean: 128, sigma: 60 },
  };
  await sharp({ create: { ...noise, background: 'black' } })
    .png()
    .toFile(noisy);
  const small = await loadImagePart(noisy, { ...limits, maxBytes: 5_000_000 }, 'images[0]');
  assert.deepEqual([small.mediaType, small.width, small.height], ['image/jpeg', 2048, 1024]);
});

test('data: URIs, in base64 and in percent signs', async () => {
  const png = await blank().png().toBuffer();
  assert.deepEqual(await readImageBytes(`data:image/png;base64,${png.toString('base64')}`, 'images[0]'), png);
  assert.deepEqual(await readImageBytes('data:,%00%ffA', 'images[0]'), Buffer.from([0, 255, 65]));
  await assert.rejects(
    readImageBytes('data:image/png;base64', 'images[0]'),
    /^FieldError: images\[0\]: expected .*, got data:image\/png;base64\.\.\.: no comma/,
  );
});

test('every picture of the fixtures is sent or refused by name, never a crash', async () => {
  for (const name of ['exif-6.jpg', 'cmyk.jpg', 'animated.gif', 'cmyk.tif', 'drawing.svg', 'empty.png']) {
    const file = new URL(`../../fixtures/images/${name}`, import.meta.url).pathname;
    try {
      const part = await loadImagePart(file, limits, 'images[0]');
      assert.ok(limits.mediaTypes.includes(part.mediaType), name);
      assert.ok(readFileSync(file).length > 0);
    } catch (cause) {
      assert.match(
        (cause as Error).message,
        new RegExp(
          `^images\\[0\\]: expected a (?:JPEG, PNG, WebP, GIF, TIFF or AVIF image|.* that can be sent), got .*${name}: `,
        ),
      );
    }
  }
});

test('an unreadable file is an error with field and name', async () => {
  await assert.rejects(readImageBytes('/no/such.png', 'images[1]'), {
    message: 'images[1]: expected an image file, got /no/such.png: no such file',
  });
  await assert.rejects(readImageBytes(folder, 'images[0]'), { message: /got .*: a directory$/ });
});

test('a picture is sent upright, also where the API takes its kind', async () => {
  const exif = { IFD0: { Artist: 'x' } };
  for (const kind of ['jpeg', 'png', 'webp'] as const) {
    const file = join(folder, `turned.${kind}`);
    writeFileSync(file, await blank().withExif(exif).withMetadata({ orientation: 6 })[kind]().toBuffer());
    const part = await loadImagePart(file, limits, 'images[0]');
    assert.deepEqual([part.width, part.height], [123, 321], kind);
    const sent = await sharp(Buffer.from(part.base64, 'base64')).metadata();
    assert.deepEqual([sent.width, sent.height, sent.orientation ?? 1], [123, 321, 1], kind);
  }
  const plain = join(folder, 'plain.jpg');
  writeFileSync(plain, await blank().withExif(exif).withMetadata({ orientation: 1 }).jpeg().toBuffer());
  assert.equal((await loadImagePart(plain, limits, 'images[0]')).base64, readFileSync(plain).toString('base64'));
});

test('a picture over the longest side is made smaller; many pictures have less room each', async () => {
  const file = join(folder, 'tall.png');
  await sharp({ create: { width: 20, height: 900, channels: 3, background: 'blue' } })
    .png()
    .toFile(file);
  const sized = { ...limits, maxSide: 800, ofMany: { count: 2, maxSide: 200 }, maxTotalBytes: 900_000 };
  const sides = async (count: number) =>
    (await loadImageParts(Array(count).fill(file), sized)).map(({ height }) => height);
  assert.deepEqual(await sides(1), [800]);
  assert.deepEqual(await sides(2), [800, 800]);
  assert.deepEqual(await sides(3), [200, 200, 200]);
  assert.equal(limitsOf(3, sized).maxBytes, 300_000);
  assert.equal(limitsOf(0, limits).maxBytes, limits.maxBytes);
});
