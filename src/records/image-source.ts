// SPDX-License-Identifier: Apache-2.0
// Sources and kinds of images: the list of image formats that all stages read, recognised by their first bytes, and
// the reader of an image named in a record or a file (a path, a file: URL, a data: URI).

import { readFile, stat } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { count } from './count.ts';

export interface ImageKind {
  name: 'JPEG' | 'PNG' | 'WebP' | 'GIF' | 'TIFF' | 'AVIF';
  mediaType: string;
  /** File extension, without the dot. */
  extension: string;
}

const KINDS: Readonly<Record<ImageKind['name'], ImageKind>> = {
  JPEG: { name: 'JPEG', mediaType: 'image/jpeg', extension: 'jpg' },
  PNG: { name: 'PNG', mediaType: 'image/png', extension: 'png' },
  WebP: { name: 'WebP', mediaType: 'image/webp', extension: 'webp' },
  GIF: { name: 'GIF', mediaType: 'image/gif', extension: 'gif' },
  TIFF: { name: 'TIFF', mediaType: 'image/tiff', extension: 'tif' },
  AVIF: { name: 'AVIF', mediaType: 'image/avif', extension: 'avif' },
};

/** Completes "expected ...". */
export const IMAGE_EXPECTED = 'a JPEG, PNG, WebP, GIF, TIFF or AVIF image';

/** Number of bytes that imageKind needs. */
export const IMAGE_HEAD_BYTES = 32;

const MAX_FILE_BYTES = 2 ** 30;

/** The kind by the first bytes; undefined if unsupported. */
export function imageKind(bytes: Uint8Array): ImageKind | undefined {
  if (bytes[0] === 0xff && bytes[1] === 0xd8 && bytes[2] === 0xff) return KINDS.JPEG;
  if (latin1(bytes, 0, 8) === '\x89PNG\r\n\x1a\n') return KINDS.PNG;
  if (latin1(bytes, 0, 4) === 'GIF8') return KINDS.GIF;
  if (latin1(bytes, 0, 4) === 'RIFF' && latin1(bytes, 8, 4) === 'WEBP') return KINDS.WebP;
  if (['II*\0', 'MM\0*'].includes(latin1(bytes, 0, 4))) return KINDS.TIFF;
  return latin1(bytes, 4, 4) === 'ftyp' && latin1(bytes, 8, 4).startsWith('avi') ? KINDS.AVIF : undefined;
}

/** A description of unsupported bytes, for "got ...". */
export function describeBytes(bytes: Uint8Array): string {
  if (bytes.length === 0) return 'an empty file';
  const kind = imageKind(bytes);
  if (kind !== undefined) return `a ${kind.name} image`;
  if (latin1(bytes, 4, 4) === 'ftyp') return 'a HEIF or MP4 file';
  if (latin1(bytes, 0, 2) === 'BM') return 'a BMP image';
  if (latin1(bytes, 4, 4) === 'jP  ' || latin1(bytes, 0, 4) === '\xff\x4f\xff\x51') return 'a JPEG 2000 image';
  const start = latin1(bytes, 0, 9);
  if (/^\s*<(?:\?xml|svg)/i.test(start)) return 'an SVG or XML file';
  if (/^\s*<(?:!doctype|html)/i.test(start)) return 'an HTML page';
  if (start.startsWith('version h')) return 'a Git LFS pointer (git lfs pull fetches the file)';
  return `a file that begins with ${JSON.stringify(start)}`;
}

function latin1(bytes: Uint8Array, start: number, length: number): string {
  return String.fromCharCode(...bytes.subarray(start, start + length));
}

/** An unreadable image: expected and actual content. Callers add the place. */
export class ImageSourceError extends Error {
  override name = 'ImageSourceError';
  readonly expected: string;
  readonly got: string;
  constructor(expected: string, got: string, options?: ErrorOptions) {
    super(`expected ${expected}, got ${got}`, options);
    this.expected = expected;
    this.got = got;
  }
}

/** The bytes of an image. Throws ImageSourceError. */
export async function imageBytes(source: string): Promise<Buffer> {
  if (source.startsWith('data:')) return dataUriBytes(source);
  return openImage(source, (path) => readFile(path));
}

/** Throws ImageSourceError for a missing file. Only decoding checks a data: URI and a file's content. */
export async function checkImageSource(source: string): Promise<void> {
  if (!source.startsWith('data:')) await openImage(source, () => Promise.resolve());
}

/** The name of an image in messages: its path, or the start of a long one or of a data: URI. */
export function sourceName(source: string): string {
  if (source.startsWith('data:')) return `${source.slice(0, 30)}...`;
  return source.length > 300 ? `${source.slice(0, 60)}...` : source;
}

/** A data: URI of the bytes, with their detected type. */
export function imageUri(bytes: Uint8Array): string {
  const { mediaType } = imageKind(bytes) ?? { mediaType: 'application/octet-stream' };
  return `data:${mediaType};base64,${Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('base64')}`;
}

/** The path of a file: URL on this machine; other text unchanged. Throws ImageSourceError. */
export function localPath(source: string): string {
  if (!/^file:/i.test(source)) return source;
  try {
    return fileURLToPath(source);
  } catch (cause) {
    throw new ImageSourceError('a file: URL of this machine', JSON.stringify(source.slice(0, 100)), { cause });
  }
}

/** The bytes of text that is an image in base64; undefined for other text, such as a path. */
export function bareBase64(text: string): Buffer | undefined {
  // Short texts are paths; long ones must decode to the first bytes of an image.
  if (text.length < 64 || imageKind(Buffer.from(text.slice(0, 64), 'base64')) === undefined) return undefined;
  return /^[A-Za-z0-9+/_\s-]+={0,2}\s*$/.test(text) ? Buffer.from(text, 'base64') : undefined;
}

/** Opens only regular files, because a pipe or a device could hang. */
async function openImage<T>(source: string, open: (path: string) => Promise<T>): Promise<T> {
  const path = localPath(source);
  if (bareBase64(path) !== undefined)
    throw new ImageSourceError('a path or data: URI', 'base64 without data:image/...;base64, before it');
  try {
    const info = await stat(path);
    if (!info.isFile())
      throw new ImageSourceError('an image file', info.isDirectory() ? 'a directory' : 'a special file');
    if (info.size > MAX_FILE_BYTES)
      throw new ImageSourceError('an image file of at most 1 GiB', count(info.size, 'byte'));
    return await open(path);
  } catch (cause) {
    if (cause instanceof ImageSourceError) throw cause;
    const code = (cause as NodeJS.ErrnoException).code ?? String(cause);
    const got = code === 'ENOENT' ? 'no such file' : code === 'EACCES' ? 'a file that may not be read' : code;
    throw new ImageSourceError('an image file', got, { cause });
  }
}

/** The bytes of a data: URI: base64 with line breaks and parameters too, or percent-encoded. Throws ImageSourceError. */
export function dataUriBytes(uri: string): Buffer {
  const comma = uri.indexOf(',');
  if (comma === -1) throw new ImageSourceError('data:[type][;base64],DATA', 'no comma');
  const head = uri.slice(5, comma);
  const body = uri.slice(comma + 1);
  if (!/;base64$/i.test(head.trim())) return Buffer.from(percentDecoded(body), 'latin1');
  const text = body.includes('%') ? percentDecoded(body) : body;
  const bytes = Buffer.from(text, 'base64');
  // Buffer.from silently stops at the first invalid character.
  const digits = text.replace(/[\s=]/g, '').length;
  if (bytes.length < Math.floor((digits * 3) / 4)) throw new ImageSourceError('base64 data', 'other characters');
  return bytes;
}

function percentDecoded(text: string): string {
  return text.replace(/%([0-9a-f]{2})/gi, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)));
}
