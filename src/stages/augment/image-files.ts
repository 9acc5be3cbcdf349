// SPDX-License-Identifier: Apache-2.0
// Writes all views of one record's images: the work of one pool job.
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { encodePng, loadImage } from '../../pixels/decode.ts';
import { addDiffusionNoise } from '../../pixels/diffusion.ts';
import type { Image } from '../../pixels/image.ts';
import { writePicture } from '../../pixels/picture-file.ts';
import type { ViewsJob, ViewsResult } from '../../pixels/pool.ts';
import { resizeImage } from '../../pixels/resize.ts';
import { CLIP_MEAN, CLIP_STD, padToSquare } from '../../pixels/square.ts';
import type { ViewOp } from '../../records/record.ts';
import { ORIGINAL_VIEW } from '../../records/view.ts';
import { isNoise, opsOfImage, replayView } from './make-view.ts';

/** Applies the operations of every view. Equal operations give equal bytes and file names. */
export async function writeViews({ id, images, views, imageDir, previewDir }: ViewsJob): Promise<ViewsResult> {
  const written = views.map(({ hasFiles }) => (hasFiles && imageDir !== undefined ? ([] as string[]) : undefined));
  for (const [index, source] of images.entries()) {
    const original = await loadImage(source);
    const label = imageLabel(id, index, images.length);
    const preview = previewDir === undefined ? undefined : previewStem(previewDir, id, label);
    if (preview !== undefined) await writePreview(preview, ORIGINAL_VIEW, original, []);
    for (const [i, view] of views.entries()) {
      const ops = opsOfImage(view.ops, index);
      const image = replayView(original, ops);
      if (imageDir !== undefined)
        await written[i]?.push(await writeImage(imageDir, `${label}.${fileName(view.name)}`, image));
      if (preview !== undefined) await writePreview(preview, view.name, image, ops);
    }
  }
  return written;
}

/** The id as the start of a file name, then the image number if there are several. */
function imageLabel(id: string, index: number, numImages: number): string {
  const safe = id
    .replace(/[^A-Za-z0-9._-]+/g, '_')
    .replace(/^\.+/, '_')
    .slice(0, 80);
  return numImages > 1 ? `${safe}.${index}` : safe;
}

/** A view's name made safe for file names, because a record may hold any text. */
function fileName(view: string): string {
  return view.replace(/[/\\\p{Cc}]/gu, '_').slice(0, 100);
}

// The name holds a digest of the pixels: another seed or run never writes other pixels under the same name. A truncated file is rewritten.
async function writeImage(folder: string, stem: string, image: Image): Promise<string> {
  const digest = pixelDigest(image);
  const path = join(folder, `${stem}.${digest.slice(0, 16)}.png`);
  const isThere =
    existsSync(path) &&
    (await loadImage(path)
      .then(pixelDigest)
      .catch(() => '')) === digest;
  if (!isThere) writePicture(path, await encodePng(image));
  return path;
}

function pixelDigest({ width, height, data }: Image): string {
  return createHash('sha256').update(`${width}x${height}:`).update(data).digest('hex');
}

/** The file name of an image's previews. Ids that give the same label get different names. */
function previewStem(folder: string, id: string, label: string): string {
  const isWhole = label === id || label.startsWith(`${id}.`);
  return join(folder, isWhole ? label : `${label}~${createHash('sha256').update(id).digest('hex').slice(0, 8)}`);
}

/** The model's view of the image: after pixel operations as it is; with noise, at model size, the tensor clipped to pixels. */
async function writePreview(stem: string, view: string, image: Image, ops: readonly ViewOp[]) {
  const noise = ops.find(isNoise);
  const shown = noise === undefined ? image : noisedPreview(image, noise.step as number, noise.seed as number);
  writePicture(`${stem}.${fileName(view)}.png`, await encodePng(shown));
}

const PREVIEW_SIZE = 336;

function noisedPreview(image: Image, step: number, seed: number): Image {
  const square = padToSquare(image, CLIP_MEAN);
  const { width, height, data } = resizeImage(square, PREVIEW_SIZE, PREVIEW_SIZE, 'bicubic');
  const plane = width * height;
  const tensor = Float32Array.from({ length: plane * 3 }, (_, i) => {
    const channel = Math.floor(i / plane);
    return (data[(i % plane) * 3 + channel]! / 255 - CLIP_MEAN[channel]!) / CLIP_STD[channel]!;
  });
  const noised = addDiffusionNoise(tensor, step, seed);
  const shown = Uint8ClampedArray.from({ length: plane * 3 }, (_, i) => {
    const channel = i % 3;
    return (noised[channel * plane + Math.floor(i / 3)]! * CLIP_STD[channel]! + CLIP_MEAN[channel]!) * 255;
  });
  return { width, height, data: new Uint8Array(shown.buffer) };
}
