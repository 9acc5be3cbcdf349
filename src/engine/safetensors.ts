// SPDX-License-Identifier: Apache-2.0
// Reads headers of safetensors files, and searches values for NaN and infinity. The engine checks everything else.

import { type FileHandle, open } from 'node:fs/promises';
import { count } from '../records/count.ts';
import { RunError } from '../records/error.ts';
import { isObject } from '../records/field.ts';

// The format's limit.
const MAX_HEADER_BYTES = 100_000_000;

/** As written, not checked. */
export interface HeaderEntry {
  dtype: unknown;
  shape: unknown;
  offsets: unknown;
}

/** The tensors of an open safetensors file, and the offset of their bytes. Throws RunError{"checkpoint"} for another kind of file. */
export async function readHeader(
  handle: FileHandle,
  file: string,
  size: number,
): Promise<{ dataBegin: number; tensors: Record<string, HeaderEntry>; metadata: Record<string, unknown> }> {
  const fail = (got: string): never => {
    throw new RunError('checkpoint', `${file}: expected a safetensors file, got ${got}`);
  };
  if (size < 8) fail(count(size, 'byte'));
  const length = Number((await readAt(handle, 0, 8)).readBigUInt64LE());
  if (length > MAX_HEADER_BYTES || length > size - 8) fail(`a header length of ${length} in ${size} bytes`);
  let header: unknown;
  try {
    header = JSON.parse((await readAt(handle, 8, length)).toString('utf8'));
  } catch (cause) {
    fail(`a header that is not JSON (${(cause as Error).message})`);
  }
  if (typeof header !== 'object' || header === null || Array.isArray(header)) fail('a header that is not an object');
  const tensors: Record<string, HeaderEntry> = {};
  for (const [name, entry] of Object.entries(header as Record<string, Partial<Record<string, unknown>> | null>)) {
    if (name !== '__metadata__')
      tensors[name] = {
        dtype: entry?.dtype ?? null,
        shape: entry?.shape ?? null,
        offsets: entry?.data_offsets ?? null,
      };
  }
  const { __metadata__: metadata } = header as { __metadata__?: unknown };
  return { dataBegin: 8 + length, tensors, metadata: isObject(metadata) ? metadata : {} };
}

/** The metadata of a safetensors file. Throws RunError{"checkpoint"}. */
export async function readMetadata(file: string): Promise<Record<string, unknown>> {
  const handle = await open(file);
  try {
    return (await readHeader(handle, file, (await handle.stat()).size)).metadata;
  } finally {
    await handle.close();
  }
}

/** At most `length` bytes from `position`. */
export async function readAt(handle: FileHandle, position: number, length: number): Promise<Buffer> {
  const buffer = Buffer.alloc(length);
  const { bytesRead } = await handle.read(buffer, 0, length, position);
  return buffer.subarray(0, bytesRead);
}

/** A tensor with values that are NaN or infinite. */
export interface BadTensor {
  name: string;
  nan: number;
  infinite: number;
}

const CHUNK_BYTES = 1 << 23;

/** The tensors of a file that hold NaN or infinity. Reads all of it. */
export async function findNonFinite(file: string): Promise<BadTensor[]> {
  const handle = await open(file);
  try {
    const { size } = await handle.stat();
    const { dataBegin, tensors } = await readHeader(handle, file, size);
    const buffer = new ArrayBuffer(CHUNK_BYTES);
    const bad: BadTensor[] = [];
    for (const [name, { dtype, offsets }] of Object.entries(tensors)) {
      const count = COUNTERS[String(dtype)];
      if (count === undefined || !Array.isArray(offsets)) continue;
      const found = { name, nan: 0, infinite: 0 };
      const end = dataBegin + Number(offsets[1]);
      for (let at = dataBegin + Number(offsets[0]); at < end; at += CHUNK_BYTES) {
        const { bytesRead } = await handle.read(new Uint8Array(buffer), 0, Math.min(CHUNK_BYTES, end - at), at);
        count(buffer, bytesRead, found);
      }
      if (found.nan + found.infinite > 0) bad.push(found);
    }
    return bad;
  } finally {
    await handle.close();
  }
}

type Counter = (buffer: ArrayBuffer, bytes: number, found: BadTensor) => void;

// An exponent of all ones means infinity if the fraction is zero, else NaN.
function counter(Words: typeof Uint16Array | typeof Uint32Array, exponent: number, fraction: number): Counter {
  return (buffer, bytes, found) => {
    const words = new Words(buffer, 0, Math.floor(bytes / Words.BYTES_PER_ELEMENT));
    for (const word of words) {
      if ((word & exponent) !== exponent) continue;
      if ((word & fraction) === 0) found.infinite += 1;
      else found.nan += 1;
    }
  };
}

const COUNTERS: Record<string, Counter> = {
  BF16: counter(Uint16Array, 0x7f80, 0x7f),
  F16: counter(Uint16Array, 0x7c00, 0x3ff),
  F32: counter(Uint32Array, 0x7f800000, 0x7fffff),
};
