// SPDX-License-Identifier: Apache-2.0
import assert from 'node:assert/strict';
import { cp, mkdtemp, open, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { fingerprintModel } from '../../src/engine/fingerprint.ts';
import { RunError } from '../../src/records/error.ts';

const DEMO = 'fixtures/demo/tiny-llava';
const root = await mkdtemp(join(tmpdir(), 'vpref-fingerprint-'));
after(() => rm(root, { recursive: true }));
let copies = 0;

async function copyOfDemo(): Promise<string> {
  const dir = join(root, String(copies++));
  await cp(DEMO, dir, { recursive: true });
  return dir;
}

test('a copy has the same fingerprint, key order and library versions aside', async () => {
  const original = await fingerprintModel(DEMO);
  assert.match(original, /^sha256:[0-9a-f]{64}$/);
  const dir = await copyOfDemo();
  const config = JSON.parse(await readFile(join(dir, 'config.json'), 'utf8'));
  const reversed = Object.fromEntries(Object.entries({ ...config, transformers_version: '9.9' }).reverse());
  await writeFile(join(dir, 'config.json'), JSON.stringify(reversed));
  assert.equal(await fingerprintModel(dir), original);
});

test('weights, configuration and size all count', async () => {
  const seen = new Set([await fingerprintModel(DEMO)]);
  const changes: ((dir: string) => Promise<void>)[] = [
    async (dir) => {
      const file = await open(join(dir, 'model.safetensors'), 'r+');
      await file.write(Buffer.from([1, 2, 3, 4]), 0, 4, (await file.stat()).size - 100);
      await file.close();
    },
    async (dir) => {
      const config = JSON.parse(await readFile(join(dir, 'config.json'), 'utf8'));
      config.text_config.rope_theta = 20000;
      await writeFile(join(dir, 'config.json'), JSON.stringify(config));
    },
    async (dir) => truncate(join(dir, 'model.safetensors'), 7_000_000),
  ];
  for (const change of changes) {
    const dir = await copyOfDemo();
    await change(dir);
    seen.add(await fingerprintModel(dir));
  }
  assert.equal(seen.size, 4);
});

const header = (length: bigint, text = '') => {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(length);
  return Buffer.concat([bytes, Buffer.from(text)]);
};
const HOSTILE: [string, (dir: string) => Promise<void>, RegExp][] = [
  ['no directory', (dir) => rm(dir, { recursive: true }), /config\.json: expected a file, got none/],
  ['no weights', (dir) => rm(join(dir, 'model.safetensors')), /model\.safetensors: ENOENT/],
  ['an empty file', (dir) => truncate(join(dir, 'model.safetensors'), 0), /got 0 bytes/],
  ['a huge header', (dir) => writeFile(join(dir, 'model.safetensors'), header(2n ** 63n)), /a header length of/],
  ['a header that is not JSON', (dir) => writeFile(join(dir, 'model.safetensors'), header(3n, 'abc')), /not JSON/],
  ['a header of another kind', (dir) => writeFile(join(dir, 'model.safetensors'), header(4n, 'null')), /not an object/],
  [
    'an index that leaves the directory',
    (dir) => indexAlone(dir, '{"weight_map":{"a":"../x"}}'),
    /expected file names/,
  ],
  ['an index without a map', (dir) => indexAlone(dir, '{}'), /weight_map: expected an object/],
];
async function indexAlone(dir: string, text: string): Promise<void> {
  await rm(join(dir, 'model.safetensors'));
  await writeFile(join(dir, 'model.safetensors.index.json'), text);
}

for (const [name, change, message] of HOSTILE) {
  test(`${name} is an error`, async () => {
    const dir = await copyOfDemo();
    await change(dir);
    await assert.rejects(
      fingerprintModel(dir),
      (error) => error instanceof RunError && error.code === 'checkpoint' && message.test(error.message),
    );
  });
}
