// SPDX-License-Identifier: Apache-2.0
// An image as the APIs take it: the file's own bytes with their media type, never re-encoded unless they must be.
import { createHash } from 'node:crypto';
import { FieldError } from '../records/error.ts';
import {
  describeBytes,
  IMAGE_EXPECTED,
  ImageSourceError,
  imageBytes,
  imageKind,
  sourceName,
} from '../records/image-source.ts';

export interface ImagePart {
  mediaType: string;
  base64: string;
  /** Of the bytes as read, hex. */
  sha256: string;
  /** Pixels, 0 when the header does not say. */
  width: number;
  height: number;
}

/** What an API takes. */
export interface ImageLimits {
  mediaTypes: readonly string[];
  maxBytes: number;
}

/** Reads a record's image: a file path or a data: URI. Throws FieldError{"image"} naming `field`, such as images[0], and the file. */
export async function readImageBytes(image: string, field: string): Promise<Buffer> {
  try {
    return await imageBytes(image);
  } catch (cause) {
    if (!(cause instanceof ImageSourceError)) throw cause;
    throw new FieldError('image', field, cause.expected, `${sourceName(image)}: ${cause.got}`);
  }
}

/** The image as a part of a request. What the API does not take (BMP, TIFF, a file over its limit) is encoded anew. */
export async function loadImagePart(image: string, limits: ImageLimits, field: string): Promise<ImagePart> {
  const bytes = await readImageBytes(image, field);
  if (imageKind(bytes) === undefined)
    throw new FieldError('image', field, IMAGE_EXPECTED, `${sourceName(image)}: ${describeBytes(bytes)}`);
  const header = imageHeader(bytes);
  const sha256 = createHash('sha256').update(bytes).digest('hex');
  const name = image.startsWith('data:') ? 'a data: URI' : image;
  if (header !== undefined && limits.mediaTypes.includes(header.mediaType) && bytes.length <= limits.maxBytes) {
    return { ...header, base64: bytes.toString('base64'), sha256 };
  }
  return { ...(await encodeAnew(bytes, limits, { name, field })), sha256 };
}

async function encodeAnew(bytes: Buffer, limits: ImageLimits, at: { name: string; field: string }) {
  const { default: sharp } = await import('sharp');
  try {
    const upright = sharp(bytes, { failOn: 'error' }).rotate();
    const png = await upright.clone().png().toBuffer({ resolveWithObject: true });
    if (png.data.length <= limits.maxBytes) return encoded('image/png', png);
    const small = upright.resize({ width: 2048, height: 2048, fit: 'inside', withoutEnlargement: true });
    return encoded('image/jpeg', await small.jpeg({ quality: 90 }).toBuffer({ resolveWithObject: true }));
  } catch (cause) {
    const got = `${at.name}: ${bytes.length === 0 ? 'an empty file' : `one that does not decode (${(cause as Error).message})`}`;
    throw new FieldError('image', at.field, 'an image that can be sent', got);
  }
}

function encoded(mediaType: string, made: { data: Buffer; info: { width: number; height: number } }) {
  return { mediaType, base64: made.data.toString('base64'), width: made.info.width, height: made.info.height };
}

/** Media type and size from the first bytes; undefined for a kind that no API takes. */
export function imageHeader(bytes: Buffer): { mediaType: string; width: number; height: number } | undefined {
  const ascii = (from: number, to: number) => bytes.toString('latin1', from, to);
  if (bytes.length >= 24 && ascii(1, 4) === 'PNG') {
    return { mediaType: 'image/png', width: bytes.readUInt32BE(16), height: bytes.readUInt32BE(20) };
  }
  if (bytes.length >= 10 && /^GIF8[79]a$/.test(ascii(0, 6))) {
    return { mediaType: 'image/gif', width: bytes.readUInt16LE(6), height: bytes.readUInt16LE(8) };
  }
  if (bytes.length >= 30 && ascii(0, 4) === 'RIFF' && ascii(8, 12) === 'WEBP') {
    return { mediaType: 'image/webp', ...webpSize(bytes, ascii(12, 16)) };
  }
  if (bytes.length >= 4 && bytes[0] === 0xff && bytes[1] === 0xd8)
    return { mediaType: 'image/jpeg', ...jpegSize(bytes) };
  return undefined;
}

function webpSize(bytes: Buffer, chunk: string): { width: number; height: number } {
  if (chunk === 'VP8X') return { width: 1 + bytes.readUIntLE(24, 3), height: 1 + bytes.readUIntLE(27, 3) };
  if (chunk === 'VP8L') {
    const packed = bytes.readUInt32LE(21);
    return { width: 1 + (packed & 0x3fff), height: 1 + ((packed >>> 14) & 0x3fff) };
  }
  return { width: bytes.readUInt16LE(26) & 0x3fff, height: bytes.readUInt16LE(28) & 0x3fff };
}

/** Walks the segments to the frame header (SOF0-15 without DHT, JPG and DAC). */
function jpegSize(bytes: Buffer): { width: number; height: number } {
  let at = 2;
  while (at + 9 <= bytes.length && bytes[at] === 0xff) {
    const marker = bytes[at + 1]!;
    if (marker >= 0xc0 && marker <= 0xcf && marker !== 0xc4 && marker !== 0xc8 && marker !== 0xcc) {
      return { width: bytes.readUInt16BE(at + 7), height: bytes.readUInt16BE(at + 5) };
    }
    at += marker === 0xff ? 1 : 2 + bytes.readUInt16BE(at + 2);
  }
  return { width: 0, height: 0 };
}
