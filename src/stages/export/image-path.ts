// SPDX-License-Identifier: Apache-2.0
// Image paths as another trainer's files have them: under its folder, and files where records have data: URIs.
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { isAbsolute, join, relative, resolve, sep } from 'node:path';
import { RecordError } from '../../records/error.ts';
import type { Row } from '../stage.ts';

/** The path to write for one of a record's images. Throws RecordError. */
export type ImagePath = (path: string, row: Row, field: string) => string;

export interface ImagePathOptions {
  /** Folder that paths are written relative to; as they are when absent. */
  root?: string;
  /** Folder for images that records carry as data: URIs. */
  directory?: string;
}

// What other trainers' readers open. The bytes say it: names in data: URIs are often wrong.
const KINDS: readonly [RegExp, string, 'jpg' | 'png' | 'webp' | 'gif' | 'bmp' | undefined][] = [
  [/^\xff\xd8\xff/, 'JPEG', 'jpg'],
  [/^\x89PNG\r\n/, 'PNG', 'png'],
  [/^RIFF[\s\S]{4}WEBP/, 'WebP', 'webp'],
  [/^GIF8[79]a/, 'GIF', 'gif'],
  [/^BM/, 'BMP', 'bmp'],
  [/^(?:II\*\0|MM\0\*)/, 'TIFF', undefined],
  [/^[\s\S]{4}ftyp(?:avif|avis)/, 'AVIF', undefined],
  [/^[\s\S]{4}ftyp/, 'HEIF', undefined],
];

export function imagePaths({ root, directory }: ImagePathOptions): ImagePath {
  const from = root === undefined ? undefined : resolve(root);
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
  const wanted = (got: string) =>
    new RecordError(row, field, 'a data: URI of a JPEG, PNG, WebP, GIF or BMP in base64', got);
  const [, base64] = /^data:[^,]*;base64,([A-Za-z0-9+/\s]+={0,2}\s*)$/i.exec(uri) ?? [];
  if (base64 === undefined) throw wanted(`${uri.slice(0, 30)}...`);
  const bytes = Buffer.from(base64, 'base64');
  const head = bytes.toString('latin1', 0, 16);
  const [, name, extension] = KINDS.find(([pattern]) => pattern.test(head)) ?? [];
  if (extension === undefined) throw wanted(name ?? `bytes that begin with ${JSON.stringify(head.slice(0, 8))}`);
  const path = join(directory, `${createHash('sha256').update(bytes).digest('hex').slice(0, 32)}.${extension}`);
  mkdirSync(directory, { recursive: true });
  if (!existsSync(path)) writeFileSync(path, bytes);
  return path;
}
