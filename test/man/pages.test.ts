// SPDX-License-Identifier: Apache-2.0
// The manual pages are well-formed roff, and each verb has one.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { readCommands } from '../../scripts/manifest.ts';
import { ensureBuilt, root } from '../support/run-cli.ts';

ensureBuilt();
const pages = readdirSync(join(root, 'man')).filter((name) => /\.\d$/.test(name));

test('each verb has its page', () => {
  for (const { id } of readCommands()) assert.ok(existsSync(join(root, `man/vpref-${id}.1`)), id);
});

test('mandoc has no complaint', (t) => {
  const { error, stdout } = spawnSync('mandoc', ['-Tlint', '-W', 'warning', ...pages], {
    cwd: join(root, 'man'),
    encoding: 'utf8',
  });
  if (error !== undefined) return t.skip('mandoc is not installed');
  assert.equal(stdout, '');
});

test('METHODS.md names files and tests that exist', () => {
  const paths = [
    ...readFileSync(join(root, 'METHODS.md'), 'utf8').matchAll(
      /`((?:src|native|test|scripts|examples|bench)\/[\w./-]+)`/g,
    ),
  ];
  assert.ok(paths.length > 80);
  const missing = paths
    .map(([, path]) => path!)
    .filter((path) => !path.includes('NAME') && !existsSync(join(root, path)));
  assert.deepEqual(missing, []);
});
