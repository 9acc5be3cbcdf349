// SPDX-License-Identifier: Apache-2.0
// A directory made by mergeInto is a checkpoint: everything but weights and adapter files comes along.
import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { mergeInto } from '../../src/engine/merge.ts';
import { loadPolicy } from '../../src/engine/policy.ts';
import { withoutEngine } from '../support/native.ts';

const model = 'fixtures/demo/tiny-llava';
const folder = mkdtempSync(join(tmpdir(), 'vpref-merge-'));
after(() => rmSync(folder, { recursive: true, force: true }));

test('without an adapter the weights come back as they were', {
  skip: withoutEngine,
}, async () => {
  const policy = await loadPolicy({ model, adapters: [], device: 'cpu', dtype: 'f32', tokenBytes: [] });
  const out = join(folder, 'copy');
  const { numMerged, relativeError } = await mergeInto(policy, model, { dir: out, dtype: 'f16', trainedOn: 'none' });
  await policy.close();
  assert.equal(numMerged, 0);
  assert.equal(relativeError, 0);
  const files = readdirSync(model).filter((name) => name !== 'MODEL_CARD.md');
  assert.deepEqual(readdirSync(out).sort(), files.sort());
  const data = (dir: string) => {
    const bytes = readFileSync(join(dir, 'model.safetensors'));
    const length = Number(bytes.readBigUInt64LE(0));
    return { header: JSON.parse(bytes.toString('utf8', 8, 8 + length)), body: bytes.subarray(8 + length) };
  };
  const [ours, theirs] = [data(out), data(model)];
  const bytesOf = ({ header, body }: typeof ours, name: string) => {
    const [begin, end] = header[name].data_offsets;
    return body.subarray(begin, end);
  };
  for (const name of Object.keys(theirs.header).filter((key) => key !== '__metadata__'))
    assert.equal(bytesOf(ours, name).compare(bytesOf(theirs, name)), 0, name);
});
