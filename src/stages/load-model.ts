// SPDX-License-Identifier: Apache-2.0
// Opens a model directory for the model stages: engine, tokenizer, chat templates, pixel workers, fingerprints.

import { statSync } from 'node:fs';
import { join } from 'node:path';
import { refuseSpecialFiles } from '../engine/checkpoint-files.ts';
import { fingerprintAdapter, fingerprintModel } from '../engine/fingerprint.ts';
import { loadPolicy, type Policy } from '../engine/policy.ts';
import { CLIP_MEAN, type ModelInputPlan } from '../pixels/model-input.ts';
import { createPixelPool, type PixelPool } from '../pixels/pool.ts';
import type { ResizeFilter } from '../pixels/resize.ts';
import { FieldError, RunError } from '../records/error.ts';
import { type ChatTemplate, loadChatTemplate } from '../text/chat-template.ts';
import { loadTokenizer, type ModelTokenizer, readJsonObject } from '../text/tokenizer.ts';
import type { Choice, ImageMode, ModelContext } from './model-context.ts';

export interface ModelOptions {
  model: string;
  adapters: string[];
  device: 'auto' | 'cpu' | 'cuda';
  dtype: 'auto' | 'f32' | 'bf16';
  threads?: number | undefined;
  batchTokens?: number | undefined;
  template: Choice<string>;
  imageMode: { asked?: ImageMode; otherwise?: ImageMode };
  stop?: AbortSignal;
  inputPatienceMs?: number;
  note(message: string): void;
}

/** A model in memory, until close(). */
export interface OpenModel {
  context: ModelContext;
  policy: Policy;
  close(): Promise<void>;
}

/** Loads everything before the first row is read. Throws RunError (EngineError) for whatever is wrong with the directory. */
export async function openModel(options: ModelOptions): Promise<OpenModel> {
  const { model, adapters } = options;
  for (const directory of [model, ...adapters]) checkDirectory(directory);
  const tokenizer = await loadTokenizer(model);
  const fingerprint = { model: await fingerprintModel(model), adapter: await adapterFingerprints(adapters) };
  const { device, dtype, threads, batchTokens } = options;
  const policy = await loadPolicy({
    model,
    adapters,
    device,
    dtype,
    ...(threads !== undefined && { threads }),
    ...(batchTokens !== undefined && { batchTokens }),
    tokenBytes: tokenizer.tokenBytes(),
  });
  const { vision } = policy.info;
  checkImageToken(tokenizer, policy);
  const templates = new Map<string, Promise<ChatTemplate>>();
  const loadTemplate = (name: string) => {
    const found = templates.get(name) ?? loadChatTemplate(name, model, tokenizer, vision !== undefined);
    templates.set(name, found);
    return found;
  };
  // A template that cannot be had is said before the first row.
  await loadTemplate(options.template.asked ?? options.template.otherwise);
  const plan = vision && (await modelInputPlan(model, vision.imageSize));
  const pool = createPixelPool(threads);
  return {
    context: {
      engine: policy,
      tokenizer,
      loadTemplate,
      template: options.template,
      imageMode: { otherwise: familyImageMode, ...options.imageMode },
      ...(options.imageMode.otherwise === undefined && {
        onFamilyImageMode: once(() => options.note(FAMILY_MODE_NOTE)),
      }),
      loadPixels: pixelLoader(pool, plan),
      fingerprint,
      ...(options.stop && { stop: options.stop }),
      ...(options.inputPatienceMs !== undefined && { inputPatienceMs: options.inputPatienceMs }),
    },
    policy,
    async close() {
      await pool.close();
      await policy.close();
    },
  };
}

/** Throws RunError{"checkpoint"} unless there is a directory, of files and folders. */
export function checkDirectory(path: string): void {
  const stats = statSync(path, { throwIfNoEntry: false });
  if (stats?.isDirectory()) {
    refuseSpecialFiles(path);
    return;
  }
  throw new RunError(
    'checkpoint',
    `${path}: expected a directory, got ${stats === undefined ? 'nothing of that name' : 'a file'}`,
  );
}

const familyImageMode: ImageMode = 'pad';
const FAMILY_MODE_NOTE =
  "image mode pad: a mean-colour square, as LLaVA-1.5 was trained (--image-mode crop is what Hugging Face's processor does)";

async function adapterFingerprints(adapters: string[]): Promise<string | string[] | null> {
  const all = await Promise.all(adapters.map(fingerprintAdapter));
  return all.length === 0 ? null : all.length === 1 ? all[0]! : all;
}

// An image token that the tokenizer does not know would leave every image unseen.
function checkImageToken(tokenizer: ModelTokenizer, { info }: Policy): void {
  if (info.vision === undefined) return;
  const id = tokenizer.tokenId('<image>');
  if (id !== info.vision.imageTokenId) {
    throw new RunError(
      'tokenizer',
      `tokenizer.json: expected <image> with id ${info.vision.imageTokenId} (image_token_index), got ${id ?? 'no such token'}`,
    );
  }
}

// --- pixels ---------------------------------------------------------------------------------------------------------------------

/** Prepared images kept for the next records: questions about one image come one after the other. */
const MAX_KEPT_IMAGES = 64;

function pixelLoader(pool: PixelPool, plan: Omit<ModelInputPlan, 'mode'> | undefined) {
  const kept = new Map<string, Promise<Uint8Array>>();
  return (source: string, mode: ImageMode): Promise<Uint8Array> => {
    if (plan === undefined) throw new FieldError('image-count', 'images', 'none for a text-only model', 'some');
    const key = `${mode} ${source}`;
    const pixels =
      kept.get(key) ?? pool.run('modelInput', { source, plan: { ...plan, mode } }).then((image) => image.data);
    kept.delete(key);
    kept.set(key, pixels);
    pixels.catch(() => kept.delete(key));
    if (kept.size > MAX_KEPT_IMAGES) kept.delete(kept.keys().next().value!);
    return pixels;
  };
}

const RESAMPLE: (ResizeFilter | undefined)[] = ['nearest', 'lanczos', 'bilinear', 'bicubic', 'box', 'hamming'];

/** How the checkpoint's processor brings images to size. Throws RunError{"config"} naming a setting that is not supported. */
export async function modelInputPlan(dir: string, imageSize: number): Promise<Omit<ModelInputPlan, 'mode'>> {
  const own = await readJsonObject(join(dir, 'preprocessor_config.json'), 'config');
  const processor = await readJsonObject(join(dir, 'processor_config.json'), 'config');
  const config = own ?? (processor?.image_processor as Record<string, unknown> | undefined) ?? {};
  const fail = (key: string, expected: string): never => {
    throw new RunError(
      'config',
      `${dir}: image processor: ${key}: expected ${expected}, got ${JSON.stringify(config[key])}`,
    );
  };
  for (const key of ['do_resize', 'do_center_crop', 'do_rescale', 'do_normalize'])
    if (config[key] === false) fail(key, 'true');
  const size = sideOf(config.size, 'shortest_edge') ?? imageSize;
  const crop = sideOf(config.crop_size, 'height') ?? imageSize;
  if (size !== imageSize) fail('size', `shortest_edge ${imageSize} as vision_config.image_size says`);
  if (crop !== imageSize) fail('crop_size', `${imageSize} as vision_config.image_size says`);
  const filter = RESAMPLE[(config.resample as number | undefined) ?? 3];
  if (filter === undefined) fail('resample', '0..5');
  const mean = (config.image_mean ?? CLIP_MEAN) as [number, number, number];
  if (!Array.isArray(mean) || mean.length !== 3 || !mean.every((value) => typeof value === 'number'))
    fail('image_mean', 'three numbers');
  return { size, cropSize: { width: crop, height: crop }, imageMean: mean, filter: filter! };
}

function sideOf(value: unknown, key: string): number | undefined {
  if (typeof value === 'number') return value;
  const sides = value as Record<string, unknown> | null | undefined;
  const side = sides?.[key] ?? sides?.height;
  return typeof side === 'number' ? side : undefined;
}

function once(action: () => void): () => void {
  let isDone = false;
  return () => {
    if (!isDone) action();
    isDone = true;
  };
}
