// SPDX-License-Identifier: Apache-2.0
// Image paths as another trainer's files have them: under its folder, and files where records have data: URIs.
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { isAbsolute, join, relative, resolve, sep } from 'node:path';
import { RecordError } from '../../records/error.ts';
import { clearLeftovers, writePicture } from '../picture-file.ts';
import type { Row } from '../stage.ts';

/** The path to write for one of a record's images. Throws RecordError. */
export type ImagePath = (path: string, row: Row, field: string) => string;

export interface ImagePathOptions {
  /** Folder that paths are written relative to; as they are when absent. */
  root?: string;
  /** Folder for images that records carry as data: URIs. */
  directory?: string;
}

const EXTENSIONS: Readonly<Record<string, string>> = { jpeg: 'jpg', png: 'png', webp: 'webp', gif: 'gif', bmp: 'bmp' };

export function imagePaths({ root, directory }: ImagePathOptions): ImagePath {
  const from = root === undefined ? undefined : resolve(root);
  if (directory !== undefined && existsSync(directory)) clearLeftovers(directory);
  return (image, row, field) => {
    const path = image.startsWith('data:') ? writeDataImage(image, directory, row, field) : image;
    if (from === undefined) return path;
    const below = relative(from, resolve(path));
    if (below === '' || below === '..' || below.startsWith(`..${sep}`) || isAbsolute(below))
      throw new RecordError(row, field, `a path under ${root} (--image-root)`, path);
    return below;
  };
}

/** Writes the image under a name that its content gives, once, and returns its path. */
function writeDataImage(uri: string, directory: string | undefined, row: Row, field: string): string {
  if (directory === undefined)
    throw new RecordError(row, field, 'a file path (--image-dir writes data: URIs as files)', 'a data: URI');
  const match = /^data:image\/([a-z]+);base64,([A-Za-z0-9+/]+={0,2})$/.exec(uri);
  const extension = EXTENSIONS[match?.[1] ?? ''];
  if (match === null || extension === undefined)
    throw new RecordError(
      row,
      field,
      'a data: URI of a JPEG, PNG, WebP, GIF or BMP in base64',
      `${uri.slice(0, 30)}...`,
    );
  const bytes = Buffer.from(match[2]!, 'base64');
  const path = join(directory, `${createHash('sha256').update(bytes).digest('hex').slice(0, 32)}.${extension}`);
  mkdirSync(directory, { recursive: true });
  if (!existsSync(path) || !readFileSync(path).equals(bytes)) writePicture(path, bytes);
  return path;
}
