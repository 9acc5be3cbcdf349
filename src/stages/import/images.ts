// SPDX-License-Identifier: Apache-2.0
// Where images are: roots put before the paths that a file writes, and a look at whether they are there.
import { realpathSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { isAbsolute, join, normalize, relative, sep } from 'node:path';
import { FieldError, RecordError } from '../../records/error.ts';
import type { Place } from '../../records/field.ts';

export interface ImageRoot {
  /** The source it is for; every source without a root of its own when absent. */
  source?: string;
  directory: string;
}

/**
 * The path as later stages open it: under its source's root, else under the common one, else as written. Links below a root are followed; a path that leaves
 * it by its own words (`..`, an absolute one elsewhere) throws RecordError.
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

/** Throws RecordError for an image that no later stage could open. */
export function checkImageForm(path: string, at: Place, field: string): void {
  if (path === '') throw new RecordError(at, field, 'a path or data: URI', 'an empty string');
  const scheme = /^([a-z][a-z0-9+.-]+):\/\//i.exec(path)?.[1];
  if (scheme !== undefined)
    throw new RecordError(at, field, 'a path or data: URI (download it first)', `a ${scheme} address`);
}

/** Throws FieldError when there is no image file there: missing, empty, or something else by its first bytes. */
export async function checkImageFile(path: string, field: string): Promise<void> {
  if (path.startsWith('data:')) return;
  const wrong = (got: string) => new FieldError('image', field, 'an image file', `${path}: ${got}`);
  const head = Buffer.alloc(16);
  let length: number;
  try {
    const file = await open(path, 'r');
    try {
      ({ bytesRead: length } = await file.read(head, 0, head.length, 0));
    } finally {
      await file.close();
    }
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    throw wrong(code === 'ENOENT' ? 'no such file' : code === 'EISDIR' ? 'a directory' : String(code));
  }
  if (length === 0) throw wrong('an empty file');
  if (!looksLikeImage(head.subarray(0, length)))
    throw wrong(`one that begins with ${JSON.stringify(head.toString('latin1', 0, Math.min(length, 9)))}`);
}

const SIGNATURES = ['ffd8ff', '89504e470d0a1a0a', '47494638', '424d', '49492a00', '4d4d002a', '0000000c6a502020'];

/** JPEG, PNG, GIF, BMP, TIFF, JPEG 2000, WebP, AVIF or HEIF. */
function looksLikeImage(head: Buffer): boolean {
  const hex = head.toString('hex');
  if (SIGNATURES.some((signature) => hex.startsWith(signature))) return true;
  const text = head.toString('latin1');
  return (text.startsWith('RIFF') && text.slice(8, 12) === 'WEBP') || text.slice(4, 8) === 'ftyp';
}
