// SPDX-License-Identifier: Apache-2.0
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { clearLeftovers, writePicture } from '../../src/pixels/picture-file.ts';
import { temporaryFolder } from '../support/run-cli.ts';

test('a picture is there whole, and nothing beside it', () => {
  const folder = temporaryFolder('picture');
  const path = join(folder, `${'long'.repeat(50)}.png`);
  writePicture(path, Buffer.from('one'));
  writePicture(path, Buffer.from('two'));
  assert.equal(readFileSync(path, 'utf8'), 'two');
  assert.equal(readdirSync(folder).length, 1);
  assert.throws(() => writePicture(join(folder, 'none/a.png'), Buffer.from('x')), {
    name: 'RunError',
    code: 'write',
    message: /none\/a\.png: cannot be written: ENOENT/,
  });
});

test('what a process of this machine that is gone had begun is cleared away, no other file', () => {
  const folder = temporaryFolder('picture');
  const host = hostname().replace(/[^A-Za-z0-9-]/g, '_');
  const gone = spawnSync('true').pid;
  const kept = [
    `.a.png.${host}-${process.pid}-0.partial`,
    `.a.png.another-host-${gone}-0.partial`,
    'a.png',
    'b.partial',
    '.hidden',
  ];
  for (const name of [...kept, `.a.png.${host}-${gone}-3.partial`]) writeFileSync(join(folder, name), 'x');
  clearLeftovers(folder);
  assert.deepEqual(readdirSync(folder).sort(), kept.sort());
});
