// SPDX-License-Identifier: Apache-2.0
import assert from 'node:assert/strict';
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
// Covers src/stages/doctor.ts
import { withoutEngine } from '../support/native.ts';
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

test('doctor finds NaN in weights that no forward pass reads', { skip: withoutEngine }, async () => {
  const dir = mkdtempSync(join(tmpdir(), 'vpref-doctor-'));
  try {
    cpSync('fixtures/tiny-mha', dir, { recursive: true });
    const finite = async () => {
      const { code, stdout } = await runCli(['doctor', '--model', dir]);
      const rows = stdout.trimEnd().split('\n');
      return { code, row: rows.map((line) => JSON.parse(line)).find(({ check }) => check === 'finite') };
    };
    const whole = await finite();
    assert.deepEqual([whole.code, whole.row.ok], [0, true]);
    const path = join(dir, 'model.safetensors');
    const bytes = readFileSync(path);
    const begin = 8 + Number(bytes.readBigUInt64LE(0));
    const header = JSON.parse(bytes.toString('utf8', 8, begin));
    const name = Object.keys(header).find((key) => key.endsWith('post_layernorm.bias'))!;
    bytes.writeFloatLE(Number.NaN, begin + header[name].data_offsets[0]);
    writeFileSync(path, bytes);
    const broken = await finite();
    assert.deepEqual([broken.code, broken.row.ok], [1, false]);
    assert.match(broken.row.detail, /post_layernorm\.bias: 1 NaN, 0 infinite/);
  } finally {
    rmSync(dir, { recursive: true });
  }
});

test('doctor says what is planned beside the weights', { skip: withoutEngine }, async () => {
  const { code, stdout } = await runCli(['doctor', '--model', 'fixtures/tiny-text']);
  assert.equal(code, 0);
  const rows = stdout.trimEnd().split('\n');
  const { detail } = rows.map((line) => JSON.parse(line)).find(({ check }) => check === 'weights');
  assert.match(detail, /^weights [\d.]+ GiB of [\d.]+ GiB; .*step arena: [1-9]\d* MiB for \d+ rows of f32/);
});
