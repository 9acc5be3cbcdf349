// SPDX-License-Identifier: Apache-2.0
// Opens a model directory for the model stages: engine, tokenizer, chat templates, pixel workers, fingerprints.
import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { checkAdapterFolder, checkModelFolder } from '../engine/checkpoint-files.ts';
import { fingerprintAdapter, fingerprintModel } from '../engine/fingerprint.ts';
import { loadPolicy, type Policy } from '../engine/policy.ts';
import { encodedImage } from '../pixels/decode.ts';
import { CLIP_MEAN, type ModelInputPlan } from '../pixels/model-input.ts';
import { createPixelPool, type PixelPool } from '../pixels/pool.ts';
import type { ResizeFilter } from '../pixels/resize.ts';
import { FieldError, RunError } from '../records/error.ts';
import type { TemplateArgs, ViewOp } from '../records/record.ts';
import { type ChatTemplate, DATE_ARGUMENT, loadChatTemplate, today } from '../text/chat-template.ts';
import { readJsonObject } from '../text/json-file.ts';
import { loadTokenizer, type ModelTokenizer } from '../text/tokenizer.ts';
import type { Choice, ImageMode, ModelContext } from './model-context.ts';

export interface ModelOptions {
  model: string;
  adapters: string[];
  /** An adapter that training goes on from: loaded as the last, and no part of the fingerprint. */
  initAdapter?: string | undefined;
  device: 'auto' | 'cpu' | 'cuda';
  dtype: 'auto' | 'f32' | 'bf16';
  threads?: number | undefined;
  batchTokens?: number | undefined;
  template: Choice<string>;
  templateArgs?: TemplateArgs;
  imageMode: { asked?: ImageMode; otherwise?: ImageMode };
  stop?: AbortSignal;
  inputPatienceMs?: number;
  onSpecialText?: ModelContext['onSpecialText'];
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
  const { model, adapters, initAdapter } = options;
  const loaded = initAdapter === undefined ? adapters : [...adapters, initAdapter];
  await checkFolders(model, loaded);
  const tokenizer = await loadTokenizer(model);
  const fingerprint = { model: await fingerprintModel(model), adapter: await adapterFingerprints(adapters) };
  const { device, dtype, threads, batchTokens } = options;
  const policy = await loadPolicy({
    model,
    adapters: loaded,
    device,
    dtype,
    ...(threads !== undefined && { threads }),
    ...(batchTokens !== undefined && { batchTokens }),
    tokenBytes: tokenizer.tokenBytes(),
  });
  const { vision } = policy.info;
  for (const note of policy.info.notes) options.note(note);
  checkImageToken(tokenizer, policy);
  const templates = new Map<string, Promise<ChatTemplate>>();
  const date = today();
  const noteDate = once(() => options.note(dateNote(date)));
  const noteTemplate = once<string>(options.note);
  const renderer = (name: string, args: TemplateArgs) => {
    const key = JSON.stringify([name, args]);
    const load = { hasVision: vision !== undefined, eosIds: policy.info.eosIds, args, date, note: noteTemplate };
    const found = templates.get(key) ?? loadChatTemplate(name, model, tokenizer, load);
    templates.set(key, found);
    return found;
  };
  const loadTemplate = async (name: string, args: TemplateArgs = {}) => {
    const template = await renderer(name, args);
    if (args[DATE_ARGUMENT] === undefined && template.args[DATE_ARGUMENT] !== undefined) noteDate();
    return template;
  };
  const { templateArgs = {} } = options;
  // A template that cannot be had is said before the first row.
  await renderer(options.template.asked ?? options.template.otherwise, templateArgs).then(({ render }) =>
    render([{ role: 'user', content: [{ type: 'text', text: 'Hi' }] }]),
  );
  const plan = vision && (await modelInputPlan(model, vision.imageSize));
  const pool = createPixelPool(threads);
  return {
    context: {
      engine: policy,
      tokenizer,
      loadTemplate,
      template: options.template,
      templateArgs,
      ...(options.onSpecialText && { onSpecialText: options.onSpecialText }),
      imageMode: { otherwise: familyImageMode, ...options.imageMode },
      ...(options.imageMode.otherwise === undefined && {
        onFamilyImageMode: once(() => options.note(FAMILY_MODE_NOTE)),
      }),
      loadPixels: pixelLoader(pool, plan),
      imageDigest: imageDigester(),
      ...(plan && { pixelPlan: plan }),
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

/** Throws RunError{"checkpoint"} saying what was given where it is no model or no adapter. */
export async function checkFolders(model: string, adapters: readonly string[]): Promise<void> {
  await checkModelFolder(model, adapters);
  for (const adapter of adapters) await checkAdapterFolder(adapter);
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

function pixelLoader(pool: PixelPool, plan: ProcessorPlan | undefined) {
  const kept = new Map<string, Promise<Uint8Array>>();
  return (source: string, mode: ImageMode, ops: readonly ViewOp[] = []): Promise<Uint8Array> => {
    if (plan === undefined) throw new FieldError('image-count', 'images', 'none for a text-only model', 'some');
    const key = JSON.stringify([mode, source, ops]);
    const pixels =
      kept.get(key) ?? pool.run('modelInput', { source, plan: inputPlan(plan, mode), ops }).then((image) => image.data);
    kept.delete(key);
    kept.set(key, pixels);
    pixels.catch(() => kept.delete(key));
    if (kept.size > MAX_KEPT_IMAGES) kept.delete(kept.keys().next().value!);
    return pixels;
  };
}

const RESAMPLE: (ResizeFilter | undefined)[] = ['nearest', 'lanczos', 'bilinear', 'bicubic', 'box', 'hamming'];

/** What a checkpoint's processor says; padsFirst: it makes a mean-colour square itself, so that crop is pad. */
type ProcessorPlan = Omit<ModelInputPlan, 'mode'> & { padsFirst: boolean };

function inputPlan({ padsFirst, ...plan }: ProcessorPlan, mode: ImageMode): ModelInputPlan {
  return { ...plan, mode: padsFirst ? 'pad' : mode };
}

/**
 * How the checkpoint's processor brings images to size: the image_processor in processor_config.json (transformers 5) before an older
 * preprocessor_config.json, as in native/model/load.cc. Throws RunError{"config"} naming a setting that is not supported.
 */
export async function modelInputPlan(dir: string, imageSize: number): Promise<ProcessorPlan> {
  const own = await readJsonObject(join(dir, 'preprocessor_config.json'), 'config');
  const processor = await readJsonObject(join(dir, 'processor_config.json'), 'config');
  const config = (processor?.image_processor as Record<string, unknown> | null | undefined) ?? own ?? {};
  const fail = (key: string, expected: string): never => {
    throw new RunError(
      'config',
      `${dir}: image processor: ${key}: expected ${expected}, got ${JSON.stringify(config[key])}`,
    );
  };
  const type = config.image_processor_type ?? config.feature_extractor_type ?? 'CLIPImageProcessor';
  if (typeof type !== 'string' || !PROCESSORS.test(type))
    fail('image_processor_type', 'CLIPImageProcessor or LlavaImageProcessor');
  const flag = (key: string, otherwise: boolean): boolean => {
    const value = config[key] ?? otherwise;
    return typeof value === 'boolean' ? value : fail(key, 'true or false');
  };
  for (const key of ['do_resize', 'do_convert_rgb']) if (!flag(key, true)) fail(key, 'true');
  const padsFirst = flag('do_pad', false);
  if (padsFirst && !String(type).startsWith('Llava')) fail('do_pad', 'false');
  const exact = sidesOf(config.size);
  const size = exact?.height ?? edgeOf(config.size, imageSize);
  if (size !== imageSize || (exact !== undefined && exact.width !== imageSize))
    fail('size', `${imageSize}, as vision_config.image_size says`);
  const crop = flag('do_center_crop', true) ? cropOf(config.crop_size, imageSize) : imageSize;
  if (crop !== imageSize) fail('crop_size', `${imageSize} as vision_config.image_size says`);
  // Without the crop an image that is not square keeps its shape.
  if (!flag('do_center_crop', true) && exact === undefined && !padsFirst) fail('do_center_crop', 'true');
  const filter = RESAMPLE[(config.resample as number | undefined) ?? 3];
  if (filter === undefined) fail('resample', '0..5');
  const mean = (config.image_mean ?? CLIP_MEAN) as [number, number, number];
  if (!Array.isArray(mean) || mean.length !== 3 || !mean.every((value) => typeof value === 'number'))
    fail('image_mean', 'three numbers');
  const plan = { size, cropSize: { width: crop, height: crop }, imageMean: mean, filter: filter!, padsFirst };
  return exact === undefined ? plan : { ...plan, keepsAspect: false };
}

const PROCESSORS = /^(CLIP|Llava)(ImageProcessor(Fast|Pil)?|FeatureExtractor)$/;

type Sides = Partial<Record<string, unknown>>;

/** {height, width}: an image is resized to exactly these. */
function sidesOf(value: unknown): { height: number; width: number } | undefined {
  const { height, width } = (value ?? {}) as Sides;
  return typeof height === 'number' && typeof width === 'number' ? { height, width } : undefined;
}

/** The shorter edge: a number, or {shortest_edge} alone; NaN for what is neither. */
function edgeOf(value: unknown, otherwise: number): number {
  if (value === undefined || value === null) return otherwise;
  if (typeof value === 'number') return value;
  const { shortest_edge: edge, ...others } = value as Sides;
  return typeof edge === 'number' && Object.values(others).every((other) => other === null) ? edge : Number.NaN;
}

/** The side of a square crop; NaN for another one. */
function cropOf(value: unknown, otherwise: number): number {
  if (value === undefined || value === null) return otherwise;
  if (typeof value === 'number') return value;
  const sides = sidesOf(value);
  if (sides !== undefined) return sides.height === sides.width ? sides.height : Number.NaN;
  return edgeOf(value, otherwise);
}

/** Questions about one image come one after the other. */
const MAX_KEPT_DIGESTS = 1024;

function imageDigester(): ModelContext['imageDigest'] {
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

function dateNote(date: string): string {
  return `the chat template writes the date: it gets ${date} (--template-arg ${DATE_ARGUMENT}=${date} fixes it; sample and precompute-ref record it)`;
}

function once<T = void>(action: (value: T) => void): (value: T) => void {
  let isDone = false;
  return (value) => {
    if (!isDone) action(value);
    isDone = true;
  };
}
