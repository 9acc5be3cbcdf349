// SPDX-License-Identifier: Apache-2.0
// Safetensors files for tests.
import { readFileSync, writeFileSync } from 'node:fs';

export interface TestTensor {
  name: string;
  shape: number[];
  data: Float32Array | Uint16Array;
  dtype?: 'F32' | 'F16' | 'BF16';
}

export function writeSafetensors(path: string, tensors: TestTensor[]): void {
  let offset = 0;
  const header: Record<string, unknown> = {};
  for (const { name, shape, data, dtype = 'F32' } of tensors) {
    header[name] = { dtype, shape, data_offsets: [offset, offset + data.byteLength] };
    offset += data.byteLength;
  }
  const text = Buffer.from(JSON.stringify(header));
  const padded = Buffer.concat([text, Buffer.alloc((8 - (text.length % 8)) % 8, ' ')]);
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(padded.length));
  writeFileSync(
    path,
    Buffer.concat([
      length,
      padded,
      ...tensors.map(({ data }) => Buffer.from(data.buffer, data.byteOffset, data.byteLength)),
    ]),
  );
}

/** The bytes of every tensor, by name. */
export function readSafetensors(path: string): Map<string, Buffer> {
  const bytes = readFileSync(path);
  const begin = 8 + Number(bytes.readBigUInt64LE(0));
  const header = JSON.parse(bytes.toString('utf8', 8, begin)) as Record<string, { data_offsets: [number, number] }>;
  const entries = Object.entries(header).filter(([name]) => name !== '__metadata__');
  return new Map(
    entries.map(
      ([
        name,
        {
          data_offsets: [from, to],
        },
      ]) => [name, bytes.subarray(begin + from, begin + to)],
    ),
  );
}
