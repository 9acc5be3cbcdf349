// SPDX-License-Identifier: Apache-2.0
// The image side of a checkpoint: its family, its processor settings, and images prepared in worker threads.
import { createHash } from 'node:crypto';
import { join } from 'node:path';
import type { CheckpointFiles, Family, ImageChoice, ImageMode, ImagePlan, JsonObject } from '../../families/family.ts';
import { familyOf } from '../../families/index.ts';
import type { ImageInput } from '../engine/requests.ts';
import { checkImageFile, encodedImage } from '../pixels/decode.ts';
import type { ModelImage } from '../pixels/image.ts';
import { imageSize } from '../pixels/image-size.ts';
import { sizeAfter } from '../pixels/ops.ts';
import type { PixelPool } from '../pixels/pool.ts';
import { FieldError, UsageError } from '../records/error.ts';
import { readJsonObject } from '../text/json-file.ts';
import type { ModelContext } from './context.ts';

/** A checkpoint's family, and its image processing if it takes images. */
export interface FamilyPlan {
  family: Family;
  plan: ImagePlan | undefined;
}

/** Reads config.json and the processor files. Throws RunError{"config"} with an unsupported setting. */
export async function readFamilyPlan(dir: string): Promise<FamilyPlan> {
  const files = await checkpointFiles(dir);
  const family = familyOf(files.config, join(dir, 'config.json'));
  return { family, plan: family.vision?.readPlan(files) };
}

// The image_processor in processor_config.json (transformers 5) overrides an older preprocessor_config.json.
async function checkpointFiles(dir: string): Promise<CheckpointFiles> {
  const read = (name: string) => readJsonObject(join(dir, name), 'config');
  const [config = {}, own, processor = {}] = [
    await read('config.json'),
    await read('preprocessor_config.json'),
    await read('processor_config.json'),
  ];
  const nested = (processor.image_processor ?? undefined) as JsonObject | undefined;
  return { dir, config, processor, imageProcessor: nested ?? own };
}

/** Values of --image-mode, a preset, --max-pixels and --min-pixels. */
export interface ImageOptions {
  mode: { asked?: ImageMode; otherwise?: ImageMode };
  maxPixels?: number;
  minPixels?: number;
}

/** The plan of records without their own. Throws UsageError for options that the family does not have. */
export function chosenPlan({ family, plan }: FamilyPlan, options: ImageOptions): ImagePlan | undefined {
  const { mode, maxPixels, minPixels } = options;
  const [name] = family.modelTypes;
  const vision = family.vision;
  if (vision === undefined || plan === undefined) {
    const given = Object.entries({ 'image-mode': mode.asked, 'max-pixels': maxPixels, 'min-pixels': minPixels });
    const [flag] = given.find(([, value]) => value !== undefined) ?? [];
    if (flag !== undefined) throw new UsageError(`--${flag}: ${name} is a text-only family`);
    return undefined;
  }
  const wanted = mode.asked ?? mode.otherwise;
  if (wanted !== undefined && !vision.imageModes.includes(wanted)) {
    const helps = mode.asked === undefined ? ' (the preset sets it: give --image-mode auto)' : '';
    throw new UsageError(
      `--image-mode: expected ${['auto', ...vision.imageModes].join(' or ')} for ${name}, got ${wanted}${helps}`,
    );
  }
  const limits: ImageChoice = {
    ...(maxPixels !== undefined && { maxPixels }),
    ...(minPixels !== undefined && { minPixels }),
  };
  if (!vision.hasPixelLimits)
    for (const flag of Object.keys(limits))
      throw new UsageError(
        `--${flag === 'maxPixels' ? 'max' : 'min'}-pixels: ${name} resizes images to fixed sizes, whatever their number of pixels`,
      );
  const chosen = vision.choosePlan(plan, { ...limits, ...(wanted !== undefined && { mode: wanted }) });
  const { minPixels: least = 0, maxPixels: most = Number.POSITIVE_INFINITY } = chosen;
  if (least > most)
    throw new UsageError(
      maxPixels === undefined
        ? `--min-pixels: expected at most ${most} (--max-pixels, or the checkpoint's), got ${least}`
        : `--max-pixels: expected at least ${least} (--min-pixels, or the checkpoint's), got ${most}`,
    );
  return chosen;
}

/** Number of cached images: questions about one image are usually adjacent. */
const MAX_KEPT_IMAGES = 64;

/** Loads a family's images in the pool's threads. */
export function imageLoader(pool: PixelPool, { modelTypes, vision }: Family): ModelContext['loadImage'] {
  const kept = new Map<string, Promise<ImageInput>>();
  return (source, plan, ops = []) => {
    if (vision === undefined) throw new FieldError('image-count', 'images', 'none for a text-only model', 'some');
    const key = JSON.stringify([plan, source, ops]);
    const image =
      kept.get(key) ?? pool.run('modelInput', { source, modelType: modelTypes[0], plan, ops }).then(asInput);
    kept.delete(key);
    kept.set(key, image);
    image.catch(() => kept.delete(key));
    if (kept.size > MAX_KEPT_IMAGES) kept.delete(kept.keys().next().value!);
    return image;
  };
}

function asInput({ height, width, crops }: ModelImage): ImageInput {
  return { height, width, crops: crops.map((crop) => ({ height: crop.height, width: crop.width, pixels: crop.data })) };
}

/** Sizes of a family's images from their headers. If all images get one size, only checks that the file exists. */
export function shapeReader({ vision }: Family): ModelContext['imageShape'] {
  return async (source, plan, ops = []) => {
    if (vision === undefined) throw new FieldError('image-count', 'images', 'none for a text-only model', 'some');
    if (!vision.hasOneSize) {
      const size = ops.filter(({ op }) => op !== 'diffusion').reduce(sizeAfter, await imageSize(source));
      return { ...size, crops: vision.cropSizes(size, plan) };
    }
    await checkImageFile(source);
    const crops = vision.cropSizes({ height: 1, width: 1 }, plan);
    return { ...crops[0]!, crops };
  };
}

/** Number of cached digests: questions about one image are usually adjacent. */
const MAX_KEPT_DIGESTS = 1024;

export function imageDigester(): ModelContext['imageDigest'] {
  const kept = new Map<string, Promise<string>>();
  return (source) => {
    const digest =
      kept.get(source) ?? encodedImage(source).then((bytes) => createHash('sha256').update(bytes).digest('hex'));
    digest.catch(() => kept.delete(source));
    kept.set(source, digest);
    if (kept.size > MAX_KEPT_DIGESTS) kept.delete(kept.keys().next().value!);
    return digest;
  };
}
