// SPDX-License-Identifier: Apache-2.0
// Image paths for another trainer's files: relative to its folder, with files instead of data: URIs.
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { isAbsolute, join, relative, resolve, sep } from 'node:path';
import type { Row } from '../../flow/stage.ts';
import { clearLeftovers, writePicture } from '../../pixels/picture-file.ts';
import { RecordError } from '../../records/error.ts';
import {
  dataUriBytes,
  describeBytes,
  IMAGE_EXPECTED,
  ImageSourceError,
  imageKind,
  localPath,
  sourceName,
} from '../../records/image-source.ts';

/** The path to write for one of a record's images. Throws RecordError. */
export type ImagePath = (path: string, row: Row, field: string) => string;

export interface ImagePathOptions {
  /** Folder that paths are relative to; if absent, paths stay unchanged. */
  root?: string;
  /** Folder for images that records hold as data: URIs. */
  directory?: string;
}

export function imagePaths({ root, directory }: ImagePathOptions): ImagePath {
  const from = root === undefined ? undefined : resolve(root);
  if (directory !== undefined && existsSync(directory)) clearLeftovers(directory);
  return (image, row, field) => {
    const path = image.startsWith('data:') ? writeDataImage(image, directory, row, field) : localPath(image);
    if (from === undefined) return path;
    const below = relative(from, resolve(path));
    if (below === '' || below === '..' || below.startsWith(`..${sep}`) || isAbsolute(below))
      throw new RecordError(row, field, `a path under ${root} (--image-root)`, path);
    return below;
  };
}

/** Writes the image once under a name derived from its content, and returns its path. The bytes decide the format, not the URI's type. */
function writeDataImage(uri: string, directory: string | undefined, row: Row, field: string): string {
  if (directory === undefined)
    throw new RecordError(row, field, 'a file path (--image-dir writes data: URIs as files)', 'a data: URI');
  const bytes = placedBytes(uri, row, field);
  const kind = imageKind(bytes);
  if (kind === undefined)
    throw new RecordError(row, field, IMAGE_EXPECTED, `${sourceName(uri)} (${describeBytes(bytes)})`);
  const path = join(directory, `${createHash('sha256').update(bytes).digest('hex').slice(0, 32)}.${kind.extension}`);
  mkdirSync(directory, { recursive: true });
  if (!existsSync(path) || !readFileSync(path).equals(bytes)) writePicture(path, bytes);
  return path;
}

function placedBytes(uri: string, row: Row, field: string): Buffer {
  try {
    return dataUriBytes(uri);
  } catch (cause) {
    if (!(cause instanceof ImageSourceError)) throw cause;
    throw new RecordError(row, field, cause.expected, `${sourceName(uri)}: ${cause.got}`);
  }
}
