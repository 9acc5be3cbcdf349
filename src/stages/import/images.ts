// SPDX-License-Identifier: Apache-2.0
// Resolves image paths below their roots, and checks that the files exist.
import { realpathSync } from 'node:fs';
import { isAbsolute, join, normalize, relative, sep } from 'node:path';
import { RecordError } from '../../records/error.ts';
import { describeValue, isObject, type Place } from '../../records/field.ts';
import {
  bareBase64,
  dataUriBytes,
  describeBytes,
  IMAGE_EXPECTED,
  IMAGE_HEAD_BYTES,
  ImageSourceError,
  imageKind,
  imageUri,
  localPath,
} from '../../records/image-source.ts';

export interface ImageRoot {
  /** The source it is for; absent: every source without its own root. */
  source?: string;
  directory: string;
}

/**
 * The path as later stages open it: below its source's root, else below the common one, else unchanged. Follows links below a root. Throws RecordError for
 * a path that leaves the root (`..`, or an absolute path elsewhere).
 */
export function resolveImage(
  path: string,
  source: string | undefined,
  roots: readonly ImageRoot[],
  { at, field }: { at: Place; field: string },
): string {
  if (path.startsWith('data:')) return path;
  const root = roots.find((root) => root.source !== undefined && root.source === source);
  const directory = (root ?? roots.find((root) => root.source === undefined))?.directory;
  if (directory === undefined) return path;
  const found = isAbsolute(path) ? normalize(path) : join(directory, path);
  if (isBelow(directory, found) || (isAbsolute(path) && isBelow(realPath(directory), found))) return found;
  throw new RecordError(at, field, `a path below ${directory} (--image-root)`, JSON.stringify(path));
}

function isBelow(directory: string, path: string): boolean {
  const below = relative(directory, path);
  return below !== '' && below !== '..' && !below.startsWith(`..${sep}`) && !isAbsolute(below);
}

function realPath(directory: string): string {
  try {
    return realpathSync(directory);
  } catch {
    return directory;
  }
}

/**
 * Converts another tool's form of an image to a record's: a path, a file: URL, a data: URI, a picture in bare base64, or
 * {path} or {bytes: base64}. Columns of bytes are already data: URIs. Throws RecordError.
 */
export function imageReference(value: unknown, at: Place, field: string): string {
  if (isObject(value) && !(value instanceof Uint8Array)) {
    const { bytes, path } = value;
    if (typeof bytes === 'string') return imageReference(base64Image(bytes, at, `${field}.bytes`), at, field);
    if (typeof path === 'string' && (bytes === undefined || bytes === null))
      return imageReference(path, at, `${field}.path`);
  }
  if (typeof value !== 'string') throw new RecordError(at, field, 'a path, {path} or {bytes: base64}', describe(value));
  if (value === '') throw new RecordError(at, field, 'a path or data: URI', 'an empty string');
  const inBase64 = bareBase64(value);
  const image = inBase64 === undefined ? value : imageUri(inBase64);
  checkImageForm(image, at, field);
  return localPath(image);
}

function describe(value: unknown): string {
  return value instanceof Uint8Array ? describeBytes(value).replace('a file that', 'bytes that') : describeValue(value);
}

function base64Image(text: string, at: Place, field: string): string {
  if (text.startsWith('data:')) return text;
  const bytes = Buffer.from(text, 'base64');
  if (imageKind(bytes) === undefined)
    throw new RecordError(at, field, `${IMAGE_EXPECTED} in base64`, describeBytes(bytes));
  return imageUri(bytes);
}

/** Throws RecordError for an image that no later stage could open. */
export function checkImageForm(path: string, at: Place, field: string): void {
  if (path === '') throw new RecordError(at, field, 'a path or data: URI', 'an empty string');
  if (path.startsWith('data:')) {
    checkDataUri(path, at, field);
    return;
  }
  const scheme = /^([a-z][a-z0-9+.-]+):\/\//i.exec(path)?.[1];
  if (scheme !== undefined && scheme.toLowerCase() !== 'file')
    throw new RecordError(at, field, 'a path or data: URI (download it first)', `a ${scheme} address`);
  try {
    localPath(path);
  } catch (cause) {
    throw new RecordError(at, field, (cause as ImageSourceError).expected, (cause as ImageSourceError).got);
  }
}

function checkDataUri(uri: string, at: Place, field: string): void {
  let head: Buffer;
  try {
    // Checks only the first bytes; --check-images decodes the whole image.
    head = dataUriBytes(uri.slice(0, Math.max(uri.indexOf(',') + 1, 0) + 4 * IMAGE_HEAD_BYTES));
  } catch (cause) {
    if (!(cause instanceof ImageSourceError)) throw cause;
    throw new RecordError(at, field, cause.expected, cause.got);
  }
  if (imageKind(head) === undefined) throw new RecordError(at, field, IMAGE_EXPECTED, describeBytes(head));
}
