// SPDX-License-Identifier: Apache-2.0
// Event files: sums and frames to the byte, what is kept of a file that is opened again.
import assert from 'node:assert/strict';
import { appendFileSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import * as wire from '@bufbuild/protobuf/wire';
import { crc32c, EventFile, readEvents } from '../../src/cli/event-file.ts';

const folder = mkdtempSync(join(tmpdir(), 'vpref-events-'));
after(() => rmSync(folder, { recursive: true, force: true }));

test('the sum is CRC-32C', () => {
  assert.equal(crc32c(Buffer.from('123456789')), 0xe3069283); // the check value of the algorithm
  assert.equal(crc32c(Buffer.alloc(32)), 0x8a9136aa); // RFC 3720 B.4
});

test('an event is framed as TFRecord and coded as Event: wall time, step, summary of tag and float', () => {
  const path = join(folder, 'bytes');
  const file = new EventFile(path, wire, () => true);
  const head = readFileSync(path).length;
  file.add({ step: 300, wallTime: 1.5, values: [['loss', 0.25]] });
  file.close();
  const frame = readFileSync(path).subarray(head);
  const payload = '09000000000000f83f' + '10ac02' + '2a0d' + '0a0b' + '0a046c6f7373' + '150000803e';
  assert.equal(frame.subarray(12, -4).toString('hex'), payload);
  assert.equal(Number(frame.readBigUInt64LE(0)), payload.length / 2);
  const [first, second] = readEvents(path, wire);
  assert.deepEqual(first!.values, []);
  assert.deepEqual(second, { step: 300, wallTime: 1.5, values: [['loss', 0.25]] });
});

test('a reopened file keeps the wanted events without a partial tail, and appends', () => {
  const path = join(folder, 'again');
  const event = (step: number) => ({ step, wallTime: 2, values: [['loss', step]] as [string, number][] });
  const first = new EventFile(path, wire, () => true);
  for (const step of [1, 2, 3]) first.add(event(step));
  first.close();
  appendFileSync(path, Buffer.from([9, 0, 0, 0, 0, 0, 0, 0, 1]));
  const second = new EventFile(path, wire, ({ step }) => step <= 2);
  second.add(event(3));
  second.add(event(4));
  second.close();
  assert.deepEqual(
    readEvents(path, wire).map(({ step }) => step),
    [0, 1, 2, 3, 4],
  );
});
