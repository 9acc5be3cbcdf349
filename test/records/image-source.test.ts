// SPDX-License-Identifier: Apache-2.0
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { pathToFileURL } from 'node:url';
import {
  bareBase64,
  dataUriBytes,
  describeBytes,
  imageBytes,
  imageKind,
  imageUri,
  localPath,
  sourceName,
} from '../../src/records/image-source.ts';

const fixture = (name: string) => readFileSync(`fixtures/images/${name}`);
const png = fixture('tiny.png');

test('kinds by the first bytes, whatever the name', () => {
  const kinds = ['photo.jpg', 'photo.png', 'photo.webp', 'animated.gif', 'photo.tif'].map(
    (name) => imageKind(fixture(name))?.name,
  );
  assert.deepEqual(kinds, ['JPEG', 'PNG', 'WebP', 'GIF', 'TIFF']);
  assert.equal(imageKind(Buffer.from('\0\0\0 ftypavif'))?.mediaType, 'image/avif');
  const others: [Buffer, RegExp][] = [
    [fixture('photo.bmp'), /^a BMP image$/],
    [fixture('drawing.svg'), /^an SVG or XML file$/],
    [Buffer.from('\0\0\0 ftypheic'), /HEIF/],
    [Buffer.from('\0\0\0\fjP  \r\n'), /JPEG 2000/],
    [Buffer.from('<!DOCTYPE html>'), /HTML/],
    [Buffer.from('version https://git-lfs'), /Git LFS/],
    [Buffer.alloc(0), /empty/],
    [Buffer.from('hello'), /begins with "hello"/],
  ];
  for (const [bytes, name] of others) {
    assert.equal(imageKind(bytes), undefined);
    assert.match(describeBytes(bytes), name);
  }
});

test('data: URIs with any type name, parameters and line breaks give the same bytes', () => {
  const base64 = png.toString('base64');
  const broken = base64.replace(/.{20}/g, '$&\r\n');
  for (const uri of [
    `data:image/jpg;base64,${base64}`,
    `data:image/png;name=x;base64,${broken}`,
    `data:;base64,${base64.replace(/=+$/, '')}`,
    imageUri(png),
  ])
    assert.deepEqual(dataUriBytes(uri), png);
  assert.throws(() => dataUriBytes('data:image/png;base64,####'), /expected base64 data, got other characters/);
  assert.throws(() => dataUriBytes('data:image/png'), /no comma/);
});

test('file: URLs are paths; base64 alone is refused by name; long names are cut', async () => {
  const path = join(process.cwd(), 'fixtures/images/tiny.png');
  assert.equal(localPath(pathToFileURL(path).href), path);
  assert.deepEqual(await imageBytes(pathToFileURL(path).href), png);
  assert.throws(() => localPath('file://elsewhere/a.png'), /expected a file: URL of this machine/);
  const bare = fixture('photo.jpg').toString('base64');
  assert.deepEqual(bareBase64(bare), fixture('photo.jpg'));
  assert.equal(bareBase64('/9j/a/path/like/any/other/but/long/enough/to/be/looked/at/more/closely.jpg'), undefined);
  await assert.rejects(imageBytes(bare), /expected a path or data: URI, got base64 without/);
  assert.ok(sourceName('x'.repeat(400_000)).length < 100);
});

test('pipes and devices are not opened', { timeout: 10_000 }, async () => {
  const fifo = join(mkdtempSync(join(tmpdir(), 'vpref-fifo-')), 'a.png');
  execFileSync('mkfifo', [fifo]);
  for (const path of [fifo, '/dev/zero'])
    await assert.rejects(imageBytes(path), /expected an image file, got a special file/);
  await assert.rejects(imageBytes('fixtures'), /a directory/);
});
