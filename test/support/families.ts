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
  return JSON.parse(readFileSync(`${FAMILY_FIXTURES}/${name}/golden.json`, 'utf8'));
}

/** The prompt of each golden row, by id. */
export function goldenPrompts(kind: 'text' | 'vlm'): Map<string, Message[]> {
  const lines = readFileSync(`${FAMILY_FIXTURES}/prompts-${kind}.ndjson`, 'utf8').trim().split('\n');
  return new Map(lines.map((line) => JSON.parse(line)).map(({ id, messages }) => [id, messages]));
}

/** Lengths of an image's runs of rows by the reference's arithmetic, where no engine is at hand that gives them. */
export function referenceRuns(name: string, size: Size, crops: Size[], plan: ImagePlan): number[] {
  if (name === 'llava_next') return [anyresRows(size, plan as AnyresPlan)];
  if (name === 'smolvlm') return crops.map(() => 4);
  const side = name === 'qwen3_vl' ? 32 : 28;
  return crops.map(({ height, width }) => (height / side) * (width / side));
}

type AnyresPlan = ImagePlan & { pinpoints: [number, number][]; side: number };

// Source: LlavaNextProcessor._get_number_of_features.
function anyresRows({ height, width }: Size, { pinpoints, side }: AnyresPlan): number {
  const best = bestResolution({ height, width }, pinpoints);
  const patches = side / 14;
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
