// SPDX-License-Identifier: Apache-2.0
// The check of scripts/checks/stalled-reader.sh, with a shorter sleep than its minute.
// Covers src/cli/stdout.ts src/cli/sink.ts
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { root, runShell } from '../support/run-cli.ts';

test('a reader that sleeps gets every row, and memory does not grow while it does', async (t) => {
  if (process.platform !== 'linux') return t.skip('reads /proc');
  const { code, stdout, stderr } = await runShell(`${root}/scripts/checks/stalled-reader.sh 3 40000`);
  assert.equal(code, 0, `${stdout}${stderr}`);
  assert.match(stdout, /^file: 40000 of 40000 rows .*the same bytes; peak \d+ MiB/m);
  assert.match(stdout, /^pipe: 40000 of 40000 rows .*the same bytes; peak \d+ MiB/m);
});
