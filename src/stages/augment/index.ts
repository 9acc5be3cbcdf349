// SPDX-License-Identifier: Apache-2.0
// `augment`: adds distorted views of a record's images; `replay`: makes the image files of recorded views again.
import { mkdir } from 'node:fs/promises';
import { dirname, isAbsolute, relative } from 'node:path';
import { pixelFault } from '../../flow/pixel-fault.ts';
import { mapRows, mapRowsConcurrently, type Row, type Stage } from '../../flow/stage.ts';
import type { Size } from '../../pixels/image.ts';
import { imageSize } from '../../pixels/image-size.ts';
import { clearLeftovers } from '../../pixels/picture-file.ts';
import type { PixelPool } from '../../pixels/pool.ts';
import { RecordError, RunError } from '../../records/error.ts';
import type { View, VprefRecord } from '../../records/record.ts';
import { hasPixelOps } from '../../records/view.ts';
import { changesPixels, drawViews } from './make-view.ts';
import type { ViewSpec } from './view-spec.ts';

export interface AugmentOptions {
  views: readonly ViewSpec[];
  seed: number;
  /** Folder for image files of views. Without it a view is only its recorded operations. */
  imageDir?: string;
  /** Folder for previews of every view. */
  previewDir?: string;
  /** Creates the worker threads; not called if no file is written. */
  createPool: () => PixelPool;
}

/** Adds the views to each record. Throws RecordError for a record without images, or with a view of that name. */
export function augment({ views, seed, imageDir, previewDir, createPool }: AugmentOptions): Stage {
  const arePixelsChanged = views.some(changesPixels);
  const drawnFor = (row: Row, sizes: readonly Size[]): View[] =>
    drawViews(sizes, views, { id: row.record.id, seed }).map((ops, i) => ({ name: views[i]!.name, ops, seed }));
  // Noise does not depend on the image, so no image is read.
  const drawnUnseen = (row: Row) =>
    drawnFor(
      row,
      imagesOf(row, views).map(() => NO_SIZE),
    );
  const drawn = async (row: Row): Promise<View[]> =>
    arePixelsChanged ? drawnFor(row, await sizesOf(row, imagesOf(row, views))) : drawnUnseen(row);
  if (previewDir === undefined && !arePixelsChanged) return mapRows((row) => [withViews(row, drawnUnseen(row))]);
  if (previewDir === undefined && imageDir === undefined)
    return mapRowsConcurrently(async (row) => [withViews(row, await drawn(row))], 16);
  return withPool({ imageDir, previewDir, createPool }, async (row, pool) => {
    const added = await drawn(row);
    const files = added.map((view, i) => ({ ...view, hasFiles: changesPixels(views[i]!) }));
    return [withViews(row, await written(row, { views: files, imageDir, previewDir }, pool))];
  });
}

export interface ReplayOptions {
  /** Folder for image files; default: the paths in the record, below the current folder. */
  imageDir?: string;
  previewDir?: string;
  createPool: () => PixelPool;
}

/** Recreates the image files of every recorded view, byte for byte, at the paths in the record. */
export function replay({ imageDir, previewDir, createPool }: ReplayOptions): Stage {
  const made = new Set<string>();
  return withPool({ imageDir, previewDir, createPool }, async (row, pool) => {
    const { views = [] } = row.record;
    if (views.length === 0) throw new RecordError(row, 'views', 'at least one view to replay', 'none');
    const folder = imageDir ?? recordedFolder(row, views);
    if (folder === undefined && previewDir === undefined && views.some(hasPixelOps))
      throw new RecordError(row, 'views', 'views with image files (--image-dir writes those of recipes)', 'recipes');
    if (folder !== undefined && !made.has(folder)) await makeFolder(folder);
    if (folder !== undefined) made.add(folder);
    // A view with files keeps them, even if its random operations left the image unchanged.
    const files = views.map((view) => ({ ...view, hasFiles: view.images !== undefined || hasPixelOps(view) }));
    return [{ ...row.record, views: await written(row, { views: files, imageDir: folder, previewDir }, pool) }];
  });
}

interface ViewFiles {
  views: (View & { hasFiles: boolean })[];
  imageDir: string | undefined;
  previewDir: string | undefined;
}

// The views with their image files.
async function written(row: Row, { views, imageDir, previewDir }: ViewFiles, pool: PixelPool): Promise<View[]> {
  const { id, images = [] } = row.record;
  const job = { id, images, views, ...(imageDir && { imageDir }), ...(previewDir && { previewDir }) };
  const files = await pool.run('views', job).catch((error) => Promise.reject(pixelFault(row, error)));
  return views.map(({ hasFiles: _, ...view }, i) => ({ ...view, ...(files[i] && { images: files[i] }) }));
}

async function sizesOf(row: Row, images: readonly string[]): Promise<Size[]> {
  return Promise.all(images.map(imageSize)).catch((error) => Promise.reject(pixelFault(row, error)));
}

// Records are untrusted input: a path in one must not make us write outside the current folder.
function recordedFolder(row: Row, views: readonly View[]): string | undefined {
  const index = views.findIndex((view) => view.images !== undefined && view.images.length > 0);
  if (index < 0) return undefined;
  const file = views[index]!.images![0]!;
  const below = relative('.', dirname(file));
  if (/^\.\.(?:[/\\]|$)/.test(below) || isAbsolute(below))
    throw new RecordError(
      row,
      `views[${index}].images[0]`,
      'a file below the current folder (--image-dir gives another)',
      JSON.stringify(file),
    );
  return dirname(file);
}

/** A stage over a worker pool that closes with it. Folders are created first. */
function withPool(
  {
    imageDir,
    previewDir,
    createPool,
  }: Pick<ReplayOptions, 'createPool'> & { imageDir?: string | undefined; previewDir?: string | undefined },
  fn: (row: Row, pool: PixelPool) => Promise<VprefRecord[]>,
): Stage {
  return async function* (rows) {
    for (const folder of [imageDir, previewDir]) if (folder !== undefined) await makeFolder(folder);
    const pool = createPool();
    try {
      yield* mapRowsConcurrently((row) => fn(row, pool), pool.numThreads * 2)(rows);
    } finally {
      await pool.close();
    }
  };
}

async function makeFolder(folder: string): Promise<void> {
  try {
    await mkdir(folder, { recursive: true });
    clearLeftovers(folder);
  } catch (cause) {
    throw new RunError('write', `${folder}: expected a folder to write images to, got ${(cause as Error).message}`, {
      cause,
    });
  }
}

const NO_SIZE: Size = { width: 0, height: 0 };

/** The record's images. Throws RecordError if the views cannot be added. */
function imagesOf(row: Row, views: readonly ViewSpec[]): string[] {
  const { images = [], views: present = [] } = row.record;
  if (images.length === 0) throw new RecordError(row, 'images', 'at least one image to augment', 'none');
  for (const { name } of views) {
    if (present.some((view) => view.name === name)) {
      throw new RecordError(row, 'views', `no view named ${JSON.stringify(name)} yet (name= gives another)`, 'one');
    }
  }
  return images;
}

function withViews({ record }: Row, added: View[]): VprefRecord {
  // A field added to a spread copy of a parsed object takes ten times as long in V8.
  return Object.assign({}, record, { views: record.views === undefined ? added : [...record.views, ...added] });
}
