// SPDX-License-Identifier: Apache-2.0
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { readJsonObject, readTextFile } from '../../src/text/json-file.ts';

const folder = mkdtempSync(join(tmpdir(), 'vpref-json-file-'));
after(() => rmSync(folder, { recursive: true, force: true }));
const path = join(folder, 'x.json');
const read = (text: string) => {
  writeFileSync(path, text);
  return readJsonObject(path, 'config');
};

test('an object, or nothing where there is no file', async () => {
  assert.deepEqual(await read('{"a":[1]}'), { a: [1] });
  assert.equal(await readJsonObject(join(folder, 'none.json'), 'config'), undefined);
  assert.equal(await readTextFile(join(path, 'below-a-file'), 'config'), undefined);
});

test('deep nesting is an error, not a crash', async () => {
  const nested = (levels: number) => `{"a":${'['.repeat(levels)}${']'.repeat(levels)}}`;
  assert.ok(await read(nested(63)));
  for (const levels of [65, 1000, 200_000]) await assert.rejects(read(nested(levels)), /64 levels of nesting/);
});

test('what is no JSON object is an error', async () => {
  await assert.rejects(read('[1]'), /expected a JSON object/);
  await assert.rejects(read('{'), /x.json: /);
  await assert.rejects(read('version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 2\n'), /Git LFS pointer/);
  await assert.rejects(read('../../blobs/0123'), /text of a link/);
});

test('a folder or a pipe is an error at once', async () => {
  await assert.rejects(readJsonObject(folder, 'config'), /expected a file, got a folder/);
  const pipe = join(folder, 'pipe');
  execFileSync('mkfifo', [pipe]);
  await assert.rejects(readTextFile(pipe, 'config'), /expected a file, got a pipe/);
});
