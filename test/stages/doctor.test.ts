// SPDX-License-Identifier: Apache-2.0
import assert from 'node:assert/strict';
import { test } from 'node:test';
// Covers src/stages/doctor.ts
import { runCli } from '../support/run-cli.ts';

test('doctor says one row a check, with a remedy where one fails', async () => {
  const { code, stdout, stderr } = await runCli(['doctor']);
  assert.deepEqual([code, stderr], [0, '']);
  const checks = stdout
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line));
  for (const { check, ok, detail, remedy } of checks) {
    assert.equal(typeof check, 'string');
    assert.equal(typeof detail, 'string');
    assert.equal(ok ? 'undefined' : 'string', typeof remedy, check);
  }
  const node = checks.find(({ check }) => check === 'node');
  assert.deepEqual([node.ok, node.detail], [true, process.versions.node]);
  assert.ok(checks.some(({ check }) => check === 'memory'));
});
