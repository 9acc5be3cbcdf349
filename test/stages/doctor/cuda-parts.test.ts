// SPDX-License-Identifier: Apache-2.0
import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { cudaRemedy, describeCudaParts, findCudaParts } from '../../../src/stages/doctor/cuda-parts.ts';

test('the parts are found one by one, and the remedy names the first that is missing', (t) => {
  const root = mkdtempSync(join(tmpdir(), 'vpref-cuda-'));
  t.after(() => rmSync(root, { recursive: true }));
  const put = (path: string, text = '') => {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    writeFileSync(join(root, path), text);
  };
  assert.deepEqual(findCudaParts({}, root), {});
  assert.match(cudaRemedy({}, false), /driver/);
  assert.equal(describeCudaParts({}), 'no NVIDIA driver, no nvcc, no cuBLASLt in the usual folders');

  put(
    'proc/driver/nvidia/version',
    'NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.159.03  Release Build  (x)\nGCC version: 12.2.0\n',
  );
  assert.deepEqual(findCudaParts({}, root), { driver: '580.159.03' });
  assert.match(cudaRemedy(findCudaParts({}, root), false), /nvcc/);
  assert.match(cudaRemedy(findCudaParts({}, root), true), /nvidia-smi/);

  put('usr/local/cuda/bin/nvcc');
  assert.match(cudaRemedy(findCudaParts({}, root), false), /cuBLASLt/);
  put('opt/lib/libcublasLt.so.13');
  const parts = findCudaParts({ LD_LIBRARY_PATH: join(root, 'opt/lib') }, root);
  assert.deepEqual(parts, {
    driver: '580.159.03',
    nvcc: join(root, 'usr/local/cuda/bin/nvcc'),
    cublas: join(root, 'opt/lib'),
  });
  assert.equal(cudaRemedy(parts, false), 'make cuda');
});
