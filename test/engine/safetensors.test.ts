// SPDX-License-Identifier: Apache-2.0
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { findNonFinite } from '../../src/engine/safetensors.ts';
import { writeSafetensors } from '../support/safetensors.ts';

const folder = mkdtempSync(join(tmpdir(), 'vpref-safetensors-'));
after(() => rmSync(folder, { recursive: true, force: true }));

test('NaN and infinity of every dtype are found, the largest finite numbers are not', async () => {
  const path = join(folder, 'a.safetensors');
  writeSafetensors(path, [
    { name: 'fine', shape: [3], data: Float32Array.of(3.4028234663852886e38, -0, 1e-45) },
    {
      name: 'f32',
      shape: [4],
      data: Float32Array.of(1, Number.NaN, Number.NEGATIVE_INFINITY, Number.POSITIVE_INFINITY),
    },
    { name: 'f16 fine', dtype: 'F16', shape: [2], data: Uint16Array.of(0x7bff, 0xfbff) },
    { name: 'f16', dtype: 'F16', shape: [2], data: Uint16Array.of(0x7c00, 0xfe00) },
    { name: 'bf16 fine', dtype: 'BF16', shape: [2], data: Uint16Array.of(0x7f7f, 0x7c00) },
    { name: 'bf16', dtype: 'BF16', shape: [2], data: Uint16Array.of(0xff80, 0x7fc0) },
  ]);
  assert.deepEqual(await findNonFinite(path), [
    { name: 'f32', nan: 1, infinite: 2 },
    { name: 'f16', nan: 1, infinite: 1 },
    { name: 'bf16', nan: 1, infinite: 1 },
  ]);
});

test('a value behind the first chunk is found', async () => {
  const path = join(folder, 'long.safetensors');
  const data = new Float32Array(5_000_000);
  data[4_999_999] = Number.NaN;
  writeSafetensors(path, [{ name: 'w', shape: [5_000_000], data }]);
  assert.deepEqual(await findNonFinite(path), [{ name: 'w', nan: 1, infinite: 0 }]);
});

test('clean fixtures are clean', async () => {
  assert.deepEqual(await findNonFinite('fixtures/tiny-mha/model.safetensors'), []);
});
