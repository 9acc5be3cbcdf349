// SPDX-License-Identifier: Apache-2.0
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { before, test } from 'node:test';
import { pathToFileURL } from 'node:url';
import { ensureBuilt, root, temporaryFolder } from '../support/run-cli.ts';

before(ensureBuilt);

test('a run that waits with an empty event loop is an error with status 1', () => {
  const folder = temporaryFolder('main');
  mkdirSync(join(folder, 'commands'));
  const oclif = { bin: 'vpref', commands: './commands' };
  writeFileSync(
    join(folder, 'package.json'),
    JSON.stringify({ name: 'vpref', version: '0.0.0', type: 'module', oclif }),
  );
  writeFileSync(
    join(folder, 'commands/wait.js'),
    'export default class { static run() { return new Promise(() => {}); } }\n',
  );
  const main = JSON.stringify(pathToFileURL(join(root, 'dist/main.js')).href);
  const script = join(folder, 'run.mjs');
  writeFileSync(
    script,
    `const { main } = await import(${main});\nawait main({ root: ${JSON.stringify(folder)} }, ['wait']);\n`,
  );
  const { status, stderr } = spawnSync(process.execPath, [script], { encoding: 'utf8', timeout: 60_000 });
  // Node 22 adds a warning of its own.
  assert.match(stderr, /^vpref wait: internal error: the run ended before it was complete$/m);
  assert.equal(status, 1);
});
