// SPDX-License-Identifier: Apache-2.0
// SmolVLM and Idefics3: tiles of one size, then the whole image as the last tile. Text tokens between tiles give their positions.
import { cropImage } from '../../src/pixels/geometry.ts';
import type { Image } from '../../src/pixels/image.ts';
import { PixelError } from '../../src/pixels/pixel-error.ts';
import { type ResizeFilter, resizeImage } from '../../src/pixels/resize.ts';
import type { CheckpointFiles, Family, ImagePlan, Size, VisionFamily } from '../family.ts';
import { demandEqual, imageProcessor, processorConfig, visionConfig } from '../processor-settings.ts';

interface TilePlan extends ImagePlan {
  mode: 'tiles';
  /** The longer side; small images are enlarged to it. */
  longestEdge: number;
  /** A tile's sides. */
  tile: number;
  /** False: only the whole image, at the size of a tile. */
  splits: boolean;
  filter: ResizeFilter;
}

const IMAGE = '<image>';
const AROUND = '<fake_token_around_image>';

const vision: VisionFamily<TilePlan> = {
  imageToken: IMAGE,
  imageMark: IMAGE,
  imagesOnOwnLine: false,
  imageModes: ['tiles'],
  hasPixelLimits: false,
  readPlan,
  choosePlan: (plan) => plan,
  cropSizes(size, plan) {
    const { rows, columns } = grid(size, plan);
    return Array.from({ length: rows * columns + 1 }, () => ({ height: plan.tile, width: plan.tile }));
  },
  crops,
  describe: ({ tile, longestEdge, splits }) =>
    splits
      ? `the longer side at ${longestEdge}, tiles of ${tile} x ${tile}, and the whole picture as one`
      : `the whole picture as one tile of ${tile} x ${tile}`,
  expansion(size, plan) {
    const { rows, columns } = grid(size, plan);
    const row = (r: number) =>
      Array.from({ length: columns }, (_, c) => `${AROUND}<row_${r + 1}_col_${c + 1}>${IMAGE}`).join('');
    const tiles = Array.from({ length: rows }, (_, r) => `${row(r)}\n`).join('');
    return `${tiles === '' ? '' : `${tiles}\n`}${AROUND}<global-img>${IMAGE}${AROUND}`;
  },
};

export const smolvlm: Family = { modelTypes: ['smolvlm', 'idefics3'], vision };

// Each resize of the chain rounds to 8 bit, as the reference does.
function crops(image: Image, plan: TilePlan): Image[] {
  const { tile, splits, filter } = plan;
  const first = longestEdgeSize(image, plan.longestEdge);
  const scaled = resizeImage(image, first.width, first.height, filter);
  if (!splits) return [resizeImage(scaled, tile, tile, filter)];
  const bent = tiledSize(first, plan);
  const whole = resizeImage(scaled, bent.width, bent.height, filter);
  const { rows, columns } = grid(image, plan);
  if (rows === 0) return [whole];
  const tiles = Array.from({ length: rows * columns }, (_, index) =>
    cropImage(whole, (index % columns) * tile, Math.floor(index / columns) * tile, tile, tile),
  );
  return [...tiles, resizeImage(whole, tile, tile, filter)];
}

/** Rows and columns of tiles; 0 for the whole image only. */
function grid(size: Size, plan: TilePlan): { rows: number; columns: number } {
  if (!plan.splits) return { rows: 0, columns: 0 };
  const { height, width } = tiledSize(longestEdgeSize(size, plan.longestEdge), plan);
  const isSplit = height > plan.tile || width > plan.tile;
  return { rows: isSplit ? height / plan.tile : 0, columns: isSplit ? width / plan.tile : 0 };
}

const MAX_SIDE = 4096;

/** Scales the longer side to `longest`; the other is rounded down, then made even. Source: get_resize_output_image_size of Idefics3ImageProcessor. */
function longestEdgeSize(size: Size, longest: number): Size {
  const aspect = size.width / size.height;
  const even = (side: number) => Math.max(side % 2 === 0 ? side : side + 1, 1);
  const scaled =
    size.width >= size.height
      ? { height: even(Math.trunc(longest / aspect)), width: longest }
      : { height: longest, width: even(Math.trunc(longest * aspect)) };
  return belowMaximum(scaled);
}

function belowMaximum({ height, width }: Size): Size {
  if (Math.max(height, width) <= MAX_SIDE) return { height, width };
  const aspect = width / height;
  return width >= height
    ? { height: Math.max(Math.trunc(MAX_SIDE / aspect), 1), width: MAX_SIDE }
    : { height: MAX_SIDE, width: Math.max(Math.trunc(MAX_SIDE * aspect), 1) };
}

/** Both sides rounded up to multiples of the tile size, without keeping the aspect ratio. */
function tiledSize({ height, width }: Size, { tile }: TilePlan): Size {
  const aspect = width / height;
  const up = (side: number) => Math.ceil(side / tile) * tile;
  const made =
    width >= height
      ? { height: up(Math.trunc(up(width) / aspect)), width: up(width) }
      : { height: up(height), width: up(Math.trunc(up(height) * aspect)) };
  if (made.height === 0 || made.width === 0)
    throw new PixelError(
      'image',
      'tiles',
      'an image of a less extreme aspect ratio',
      `${width} x ${height} after scaling`,
    );
  return made;
}

const PROCESSORS = /^(SmolVLM|Idefics3)ImageProcessor(Fast|Pil)?$/;
/** The processor's class defaults. */
const DEFAULT_TILE = 364;
const HALF = [0.5, 0.5, 0.5] as const;

function readPlan(files: CheckpointFiles): TilePlan {
  const settings = imageProcessor(files, PROCESSORS, 'SmolVLMImageProcessor or Idefics3ImageProcessor');
  // do_pad only fills batches; every tile has full size.
  settings.checkFlags(['do_image_splitting', 'do_pad']);
  const size = settings.object('size');
  const other = size.keys().find((key) => key !== 'longest_edge');
  if (other !== undefined) size.fail(other, 'longest_edge alone');
  const tile = settings.object('max_image_size').count('longest_edge', DEFAULT_TILE);
  const { patch, scale } = checkTile(files, tile);
  const rows = (tile / patch / scale) ** 2;
  demandEqual(processorConfig(files), 'image_seq_len', rows, 'a tile of this size');
  return {
    mode: 'tiles',
    normalisation: settings.normalisation(HALF, HALF),
    longestEdge: size.count('longest_edge', 4 * DEFAULT_TILE),
    tile,
    splits: settings.boolean('do_image_splitting', true),
    filter: settings.filter('lanczos'),
  };
}

// The tower's positions fit a full tile only.
function checkTile(files: CheckpointFiles, tile: number): { patch: number; scale: number } {
  const vision = visionConfig(files);
  const side = vision.count('image_size', 224);
  if (side !== tile) vision.fail('image_size', `${tile} (max_image_size.longest_edge of the image processor)`);
  const patch = vision.count('patch_size', 32);
  const scale = Number(files.config.scale_factor ?? 2);
  if (!Number.isInteger(tile / patch / scale))
    vision.fail('patch_size', `one that divides a tile of ${tile} into groups of ${scale} x ${scale}`);
  return { patch, scale };
}
