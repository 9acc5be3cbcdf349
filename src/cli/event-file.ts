// SPDX-License-Identifier: Apache-2.0
// TensorBoard's event files: TFRecord frames (length and bytes, each with a masked crc32c) around Event messages. Field numbers are those of
// tensorflow/core/util/event.proto and framework/summary.proto.
import { closeSync, ftruncateSync, openSync, readFileSync, writeSync } from 'node:fs';
import { RunError } from '../records/error.ts';

type Wire = typeof import('@bufbuild/protobuf/wire');

export interface ScalarEvent {
  step: number;
  /** Seconds since 1970. */
  wallTime: number;
  values: readonly (readonly [tag: string, value: number])[];
}

/** An event file that is appended to. When reopened it keeps the leading events for which `isKept` is true, and truncates the rest. */
export class EventFile {
  readonly path: string;
  readonly #wire: Wire;
  readonly #fd: number;
  #end = 0;

  constructor(path: string, wire: Wire, isKept: (event: ScalarEvent) => boolean) {
    this.path = path;
    this.#wire = wire;
    try {
      this.#fd = openSync(path, 'a+');
      for (const { payload, end } of frames(readFileSync(path))) {
        const event = decode(wire, payload);
        if (event.values.length > 0 && !isKept(event)) break;
        this.#end = end;
      }
      ftruncateSync(this.#fd, this.#end);
    } catch (cause) {
      throw new RunError('io', `${path}: could not be opened: ${(cause as Error).message}`, { cause });
    }
    if (this.#end === 0)
      this.#write(new wire.BinaryWriter().tag(1, 1).double(now()).tag(3, 2).string('brain.Event:2').finish());
  }

  add({ step, wallTime, values }: ScalarEvent): void {
    const { BinaryWriter } = this.#wire;
    const event = new BinaryWriter().tag(1, 1).double(wallTime).tag(2, 0).int64(step).tag(5, 2).fork();
    for (const [tag, value] of values) event.tag(1, 2).fork().tag(1, 2).string(tag).tag(2, 5).float(value).join();
    this.#write(event.join().finish());
  }

  close(): void {
    closeSync(this.#fd);
  }

  #write(payload: Uint8Array): void {
    const frame = frameOf(payload);
    try {
      writeSync(this.#fd, frame);
    } catch (cause) {
      throw new RunError('io', `${this.path}: could not be written: ${(cause as Error).message}`, { cause });
    }
    this.#end += frame.length;
  }
}

export function now(): number {
  return Date.now() / 1000;
}

/** The events of a file, without a partial event at the end. */
export function readEvents(path: string, wire: Wire): ScalarEvent[] {
  return [...frames(readFileSync(path))].map(({ payload }) => decode(wire, payload));
}

const HEADER_BYTES = 12;
const FOOTER_BYTES = 4;

function frameOf(payload: Uint8Array): Buffer {
  const frame = Buffer.alloc(HEADER_BYTES + payload.length + FOOTER_BYTES);
  frame.writeBigUInt64LE(BigInt(payload.length), 0);
  frame.writeUInt32LE(maskedCrc(frame.subarray(0, 8)), 8);
  frame.set(payload, HEADER_BYTES);
  frame.writeUInt32LE(maskedCrc(payload), HEADER_BYTES + payload.length);
  return frame;
}

/** Complete frames with correct checksums, up to the first bad one. */
function* frames(bytes: Buffer): Generator<{ payload: Buffer; end: number }> {
  for (let at = 0; at + HEADER_BYTES <= bytes.length; ) {
    const start = at + HEADER_BYTES;
    const length = Number(bytes.readBigUInt64LE(at));
    const end = start + length + FOOTER_BYTES;
    if (end > bytes.length || bytes.readUInt32LE(at + 8) !== maskedCrc(bytes.subarray(at, at + 8))) return;
    const payload = bytes.subarray(start, start + length);
    if (bytes.readUInt32LE(start + length) !== maskedCrc(payload)) return;
    yield { payload, end };
    at = end;
  }
}

function decode({ BinaryReader }: Wire, payload: Uint8Array): ScalarEvent {
  const reader = new BinaryReader(payload);
  const values: [string, number][] = [];
  let [step, wallTime] = [0, 0];
  while (reader.pos < reader.len) {
    const [field, type] = reader.tag();
    if (field === 1) wallTime = reader.double();
    else if (field === 2) step = Number(reader.int64());
    else if (field === 5) for (const end = reader.uint32() + reader.pos; reader.pos < end; ) values.push(value(reader));
    else reader.skip(type);
  }
  return { step, wallTime, values };
}

function value(reader: InstanceType<Wire['BinaryReader']>): [string, number] {
  reader.tag();
  const end = reader.uint32() + reader.pos;
  let [tag, scalar] = ['', Number.NaN];
  while (reader.pos < end) {
    const [field, type] = reader.tag();
    if (field === 1) tag = reader.string();
    else if (field === 2) scalar = reader.float();
    else reader.skip(type);
  }
  return [tag, scalar];
}

// CRC-32C (Castagnoli), masked as in TFRecord, because checksums of data with embedded checksums are weak.
const TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let crc = byte;
  for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0x82f63b78 : crc >>> 1;
  return crc;
});

export function crc32c(bytes: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of bytes) crc = (crc >>> 8) ^ TABLE[(crc ^ byte) & 0xff]!;
  return ~crc >>> 0;
}

function maskedCrc(bytes: Uint8Array): number {
  const crc = crc32c(bytes);
  return (((crc >>> 15) | (crc << 17)) + 0xa282ead8) >>> 0;
}
