// SPDX-License-Identifier: Apache-2.0
// Converts Parquet and Arrow cells to JSON: bytes, images, integers, decimals and times.
import { noteNumber } from '../../records/exact.ts';
import { joinPath } from '../../records/field.ts';
import { imageKind, imageUri } from '../../records/image-source.ts';

/** Bytes that are not an image; base64 in JSON. */
export class Binary extends Uint8Array {
  toJSON(): string {
    return Buffer.from(this.buffer, this.byteOffset, this.byteLength).toString('base64');
  }
}

/** A cell without a JSON value; readers turn it into its row's error. */
export class CellError extends Error {
  readonly path: string;
  readonly expected: string;
  readonly got: string;
  constructor(path: string, expected: string, got: string) {
    super(`${path}: expected ${expected}, got ${got}`);
    this.path = path;
    this.expected = expected;
    this.got = got;
  }
}

const UTF8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
/** Stands for a text with invalid UTF-8: half a surrogate pair, which no UTF-8 decodes to. */
const NOT_UTF8 = '\ud800';

/** Decodes the bytes; textCell reports invalid ones, because it knows row and column. */
export function readText(bytes: Uint8Array): string {
  try {
    return UTF8.decode(bytes);
  } catch {
    return NOT_UTF8;
  }
}

/** The text unchanged. Throws CellError if its bytes were not UTF-8. */
export function textCell(text: string): string {
  if (text === NOT_UTF8) throw new CellError('', 'UTF-8', 'bytes that are not');
  return text;
}

/** A decimal or large integer whose digits a JavaScript number would lose. */
export class Digits {
  readonly text: string;
  constructor(text: string) {
    this.text = text;
  }
}

/** Sets holder[key] to a leaf's value. Throws CellError. */
export function setCell(holder: Record<string, unknown> | unknown[], key: string | number, value: unknown): void {
  let plain = value;
  if (value instanceof Digits || (typeof value === 'bigint' && !Number.isSafeInteger(Number(value)))) {
    const text = value instanceof Digits ? value.text : String(value);
    plain = Number(text);
    if (String(plain) !== text) noteNumber(holder, key, text);
  } else if (typeof value === 'bigint') plain = Number(value);
  else if (typeof value === 'number' && !Number.isFinite(value))
    throw new CellError(placeOf(holder, key), 'a number that JSON has', String(value));
  Object.defineProperty(holder, key, { value: plain, writable: true, enumerable: true, configurable: true });
}

function placeOf(holder: object, key: string | number): string {
  return Array.isArray(holder) ? joinPath('', `[${key}]`) : String(key);
}

/** The bytes, or a data: URI if their first bytes are those of an image. */
export function bytesCell(bytes: Uint8Array): string | Binary {
  return imageKind(bytes) === undefined ? new Binary(bytes) : imageUri(bytes);
}

/**
 * A struct {bytes, path}, the datasets library's form of an image, becomes a data: URI of the bytes, else the path. Any
 * other struct is unchanged.
 */
export function structCell(struct: Record<string, unknown>): unknown {
  const keys = Object.keys(struct);
  if (keys.length !== 2 || !('bytes' in struct) || !('path' in struct)) return struct;
  const { bytes, path } = struct;
  if (bytes instanceof Uint8Array) return imageUri(bytes);
  if (typeof bytes === 'string' && bytes.startsWith('data:')) return bytes;
  return bytes === null && (path === null || typeof path === 'string') ? path : struct;
}

/** A signed integer of `scale` decimal places. */
export function decimalCell(unscaled: bigint, scale: number): Digits {
  const digits = (unscaled < 0n ? -unscaled : unscaled).toString().padStart(scale + 1, '0');
  const sign = unscaled < 0n ? '-' : '';
  if (scale <= 0) return new Digits(`${sign}${digits}${unscaled === 0n ? '' : '0'.repeat(-scale)}`);
  return new Digits(`${sign}${digits.slice(0, -scale)}.${digits.slice(-scale)}`);
}

/** Big-endian two's complement, Parquet's form of decimals. */
export function signedBytes(bytes: Uint8Array): bigint {
  let value = 0n;
  for (const byte of bytes) value = value * 256n + BigInt(byte);
  return BigInt.asIntN(bytes.length * 8, value);
}

export type TimeUnit = 'seconds' | 'milliseconds' | 'microseconds' | 'nanoseconds';

const FRACTION_DIGITS: Readonly<Record<TimeUnit, number>> = {
  seconds: 0,
  milliseconds: 3,
  microseconds: 6,
  nanoseconds: 9,
};

/** "2026-01-31T12:00:00.000001Z"; without Z if the time has no zone. */
export function timestampCell(count: bigint, unit: TimeUnit, isUtc: boolean): string {
  const { seconds, fraction } = splitTime(count, unit);
  return `${isoDate(seconds).slice(0, -5)}${fraction}${isUtc ? 'Z' : ''}`;
}

/** "12:00:00.001" */
export function timeCell(count: bigint, unit: TimeUnit): string {
  const { seconds, fraction } = splitTime(count, unit);
  return `${isoDate(seconds).slice(11, 19)}${fraction}`;
}

/** "2026-01-31" from days since 1970. */
export function dateCell(days: number): string {
  return isoDate(BigInt(days) * 86_400n).slice(0, -14);
}

function splitTime(count: bigint, unit: TimeUnit): { seconds: bigint; fraction: string } {
  const digits = FRACTION_DIGITS[unit];
  const perSecond = 10n ** BigInt(digits);
  const part = ((count % perSecond) + perSecond) % perSecond;
  return {
    seconds: (count - part) / perSecond,
    fraction: digits === 0 ? '' : `.${part.toString().padStart(digits, '0')}`,
  };
}

/** "2026-01-31T12:00:00.000Z" */
function isoDate(seconds: bigint): string {
  const date = new Date(Number(seconds) * 1000);
  if (Number.isNaN(date.getTime())) throw new CellError('', 'a date of the years -271821 to 275760', `${seconds} s`);
  return date.toISOString();
}
