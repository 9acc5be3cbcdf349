// SPDX-License-Identifier: Apache-2.0
// Plans of families for tests.
import { readFileSync } from 'node:fs';
import type { ImagePlan, Size } from '../../families/family.ts';
import { bestResolution } from '../../families/llava_next/llava_next.ts';
import type { Image } from '../../src/pixels/image.ts';
import { CLIP_MEAN, CLIP_STD } from '../../src/pixels/square.ts';
import type { Message } from '../../src/records/record.ts';

/** LLaVA's plan with a crop of its own size, as no checkpoint has it but CLIP's processor allows. */
export function squarePlan(mode: 'pad' | 'crop', size: number, cropSize: number): ImagePlan {
  const plan = {
    mode,
    normalisation: { mean: CLIP_MEAN, std: CLIP_STD, scale: 1 / 255 },
    size,
    cropSize: { width: cropSize, height: cropSize },
    imageMean: CLIP_MEAN,
    filter: 'bicubic',
    padsFirst: false,
  };
  return plan;
}

export const FAMILY_FIXTURES = 'fixtures/families';

/** Checkpoints of scripts/goldens/{tile,native}_families.py: FAMILY-VARIANT, below own-tiles and own-native. */
const OWN_TILES = [
  'smolvlm-one',
  'smolvlm-whole',
  'idefics3-bos',
  'idefics3-odd',
  'llava_next-vicuna',
  'llava_next-mistral',
];
const OWN_NATIVE = ['qwen2_vl-small', 'qwen2_5_vl-windows', 'qwen3_vl-planes'];
export const OWN: readonly string[] = [...OWN_TILES, ...OWN_NATIVE];

/** Checkpoints with a tower, by the name of their family. */
export const VISION_FAMILIES: readonly string[] = ['llava_next', 'smolvlm', 'qwen2_vl', 'qwen2_5_vl', 'qwen3_vl'];

/** All tiny checkpoints with a tower. */
export const VISION_FIXTURES: readonly string[] = [...VISION_FAMILIES, ...OWN];

const ownFolder = (name: string) => (OWN_NATIVE.includes(name) ? 'own-native' : 'own-tiles');

/** The family of a tiny checkpoint, by its model type. */
export const familyOfFixture = (name: string): string => name.split('-')[0]!;

/** Where a tiny checkpoint with its goldens stands. */
export const fixtureDir = (name: string): string =>
  `${FAMILY_FIXTURES}/${OWN.includes(name) ? `${ownFolder(name)}/${name}` : name}`;

/** A picture of its prompts. */
export const fixtureImage = (name: string, file: string): string =>
  `${FAMILY_FIXTURES}/${OWN.includes(name) ? `${ownFolder(name)}/` : ''}images/${file}`;

/** What transformers made of a prompt (fixtures/families/NAME/golden.json). */
export interface GoldenRow {
  id: string;
  images: string[];
  text: string;
  /** The same with enable_thinking=false. */
  text_enable_thinking_false?: string;
  prompt_ids_unexpanded: number[];
  prompt_ids: number[];
  num_image_rows?: number;
  rows?: number[][];
  cols?: number[][];
  best_resolution_hw?: [number, number][];
  image_grid_thw?: [number, number, number][];
  answers: { text: string; ids: number[]; prompt_is_prefix: boolean; sum: number }[];
  greedy: { ids: number[]; text: string; min_margin: number };
}

export function goldenRows(name: string): GoldenRow[] {
  return JSON.parse(readFileSync(`${fixtureDir(name)}/golden.json`, 'utf8'));
}

/** Checkpoints without a tower. */
export const TEXT_FAMILIES: readonly string[] = ['qwen2', 'qwen3', 'mistral'];

/** The prompt of each golden row of a tiny checkpoint, by id. */
export function goldenPrompts(name: string): Map<string, Message[]> {
  const kind = TEXT_FAMILIES.includes(name) ? 'text' : 'vlm';
  const file = OWN.includes(name) ? `${ownFolder(name)}/prompts` : `prompts-${kind}`;
  const lines = readFileSync(`${FAMILY_FIXTURES}/${file}.ndjson`, 'utf8').trim().split('\n');
  return new Map(lines.map((line) => JSON.parse(line)).map(({ id, messages }) => [id, messages]));
}

/** A tiny checkpoint's vision_config. */
export const visionConfigOf = (name: string): Record<string, number> =>
  JSON.parse(readFileSync(`${fixtureDir(name)}/ckpt/config.json`, 'utf8')).vision_config;

/** Lengths of an image's runs of rows by the reference's arithmetic, where no engine is at hand that gives them. */
export function referenceRuns(name: string, size: Size, crops: Size[], plan: ImagePlan): number[] {
  const family = familyOfFixture(name);
  const config = JSON.parse(readFileSync(`${fixtureDir(name)}/ckpt/config.json`, 'utf8'));
  const { image_size: tile, patch_size: patch } = config.vision_config;
  if (family === 'llava_next') return [anyresRows(size, plan as AnyresPlan, tile / patch)];
  if (family === 'smolvlm' || family === 'idefics3') return crops.map(() => (tile / patch / config.scale_factor) ** 2);
  const side = patch * (config.vision_config.spatial_merge_size ?? 2);
  return crops.map(({ height, width }) => (height / side) * (width / side));
}

type AnyresPlan = ImagePlan & { pinpoints: [number, number][]; side: number };

// Source: LlavaNextProcessor._get_number_of_features.
function anyresRows({ height, width }: Size, { pinpoints, side }: AnyresPlan, patches: number): number {
  const best = bestResolution({ height, width }, pinpoints);
  let [high, wide] = [(best.height / side) * patches, (best.width / side) * patches];
  const round = (value: number) => Math.trunc(Number(value.toFixed(7)));
  if (width / height > wide / high) high -= 2 * Math.floor((high - round(height * (wide / width))) / 2);
  else wide -= 2 * Math.floor((wide - round(width * (high / height))) / 2);
  return patches * patches + high * (wide + 1);
}

/** The picture of scripts/goldens/families.py. */
export function hardPicture(width: number, height: number): Image {
  const data = new Uint8Array(width * height * 3);
  for (let y = 0; y < height; y++)
    for (let x = 0; x < width; x++)
      for (let c = 0; c < 3; c++) data[(y * width + x) * 3 + c] = ((x * 7 + y * 13 + c * 50) ^ ((x * y) >> 3)) & 255;
  return { width, height, data };
}
