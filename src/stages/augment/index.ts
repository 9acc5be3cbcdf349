// SPDX-License-Identifier: Apache-2.0
// `augment`: adds distorted views of a record's images; `replay`: makes the image files of recorded views again.
import { mkdir } from 'node:fs/promises';
import { dirname, isAbsolute, relative } from 'node:path';
import type { Image } from '../../pixels/image.ts';
import { PixelError } from '../../pixels/pixel-error.ts';
import type { PixelPool } from '../../pixels/pool.ts';
import { RecordError, RunError } from '../../records/error.ts';
import { sourceName } from '../../records/image-source.ts';
import { randomStream } from '../../records/random.ts';
import type { View, VprefRecord } from '../../records/record.ts';
import { clearLeftovers } from '../picture-file.ts';
import { mapRowsConcurrently, type Row, type Stage } from '../stage.ts';
import { changesPixels, drawView } from './make-view.ts';
import type { ViewSpec } from './view-spec.ts';

export interface AugmentOptions {
  views: readonly ViewSpec[];
  seed: number;
  /** Where image files of views go; needed when a view changes pixels. */
  imageDir?: string;
  /** Where to write every view to look at. */
  previewDir?: string;
  /** Makes the worker threads; not called when there is no pixel work. */
  createPool: () => PixelPool;
}

/** Adds the views to each record. A record without images, or with a view of that name, is a RecordError. */
export function augment({ views, seed, imageDir, previewDir, createPool }: AugmentOptions): Stage {
  const hasPixelWork = previewDir !== undefined || views.some(changesPixels);
  if (!hasPixelWork) return mapRowsConcurrently(async (row) => [withViews(row, noiseOnlyViews(row, views, seed))], 1);
  return withPool({ imageDir, previewDir, createPool }, async (row, pool) => {
    const images = imagesOf(row, views);
    const { id } = row.record;
    const job = {
      id,
      seed,
      images,
      views: [...views],
      ...(imageDir && { imageDir }),
      ...(previewDir && { previewDir }),
    };
    const made = await pool.run('augment', job).catch((error) => Promise.reject(atRow(row, error)));
    const added = made.map(({ ops, ...files }, i): View => ({ name: views[i]!.name, ops, seed, ...files }));
    return [withViews(row, added)];
  });
}

export interface ReplayOptions {
  /** Where image files go; by default where the record says they were, below the current folder. */
  imageDir?: string;
  previewDir?: string;
  createPool: () => PixelPool;
}

/** Makes the image files of every recorded view again, byte for byte; the record says where they are. */
export function replay({ imageDir, previewDir, createPool }: ReplayOptions): Stage {
  const made = new Set<string>();
  return withPool({ imageDir, previewDir, createPool }, async (row, pool) => {
    const { id, images = [], views = [] } = row.record;
    if (views.length === 0) throw new RecordError(row, 'views', 'at least one to make again', 'none');
    const folder = imageDir ?? recordedFolder(row, views);
    if (folder !== undefined && !made.has(folder)) await makeFolder(folder);
    if (folder !== undefined) made.add(folder);
    const job = { id, images, views, ...(folder && { imageDir: folder }), ...(previewDir && { previewDir }) };
    const files = await pool.run('replay', job).catch((error) => Promise.reject(atRow(row, error)));
    const again = views.map((view, i): View => ({ ...view, ...(files[i] && { images: files[i] }) }));
    return [{ ...row.record, views: again }];
  });
}

// A record may come from anywhere: what it says is no leave to write anywhere.
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

/** A stage of one record at a time over a pool that ends with it; folders are made first. */
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

// Nothing is decoded: noise does not depend on the image.
function noiseOnlyViews(row: Row, views: readonly ViewSpec[], seed: number): View[] {
  imagesOf(row, views);
  return views.map((spec): View => {
    const { ops } = drawView(NO_IMAGE, spec, randomStream(seed, row.record.id, spec.name));
    return { name: spec.name, ops, seed };
  });
}

const NO_IMAGE: Image = { width: 0, height: 0, data: new Uint8Array(0) };

/** The record's images, once it is sure that the views can be added. */
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
  return { ...record, views: [...(record.views ?? []), ...added] };
}

// A file that is no image, or a recorded operation that is none, is what is wrong with the record; a full disk is not.
function atRow(row: Row, error: unknown): unknown {
  if (!(error instanceof PixelError)) return error;
  const { code, subject, expected, got } = error;
  if (code === 'op') return new RecordError(row, `views: ${subject}`, expected, got);
  const index = row.record.images?.findIndex((image) => sourceName(image) === subject) ?? 0;
  return new RecordError(row, `images[${Math.max(index, 0)}]`, expected, `${subject}: ${got}`);
}
