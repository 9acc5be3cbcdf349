// SPDX-License-Identifier: Apache-2.0
// Opens a model directory for the model stages: engine, tokenizer, chat templates, pixel workers, fingerprints.
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { Family, ImagePlan, VisionFamily } from '../../families/family.ts';
import { checkAdapterFolder, checkModelFolder } from '../engine/checkpoint-files.ts';
import { fingerprintAdapter, fingerprintModel } from '../engine/fingerprint.ts';
import { loadPolicy, type Policy } from '../engine/policy.ts';
import type { Quantize } from '../engine/requests.ts';
import { createPixelPool } from '../pixels/pool.ts';
import { RunError } from '../records/error.ts';
import type { TemplateArgs } from '../records/record.ts';
import { type ChatTemplate, DATE_ARGUMENT, loadChatTemplate, today } from '../text/chat-template.ts';
import type { ImageMarks } from '../text/content-kind.ts';
import type { ImageTokens } from '../text/prompt-ids.ts';
import { loadTokenizer, type ModelTokenizer } from '../text/tokenizer.ts';
import type { Choice, ModelContext, ModelVision } from './context.ts';
import {
  chosenPlan,
  type FamilyPlan,
  type ImageOptions,
  imageDigester,
  imageLoader,
  readFamilyPlan,
  shapeReader,
} from './images.ts';

export interface ModelOptions {
  model: string;
  adapters: string[];
  /** Initial adapter of training: loaded last, excluded from the fingerprint. */
  initAdapter?: string | undefined;
  device: 'auto' | 'cpu' | 'cuda';
  dtype: 'auto' | 'f32' | 'bf16';
  quantize?: Quantize;
  /** Folder of cached packed weights. */
  quantizeCache?: string | undefined;
  threads?: number | undefined;
  batchTokens?: number | undefined;
  template: Choice<string>;
  templateArgs?: TemplateArgs;
  images: ImageOptions;
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

/** Loads everything before the first row is read. Throws RunError (EngineError) for an invalid directory. */
export async function openModel(options: ModelOptions): Promise<OpenModel> {
  const { model, adapters, initAdapter } = options;
  const loaded = initAdapter === undefined ? adapters : [...adapters, initAdapter];
  await checkFolders(model, loaded);
  const own = await readFamilyPlan(model);
  const { family } = own;
  const plan = chosenPlan(own, options.images);
  const tokenizer = await loadTokenizer(model);
  const fingerprint = { model: await fingerprintModel(model), adapter: await adapterFingerprints(adapters) };
  const { device, dtype, quantize = 'none', threads, batchTokens } = options;
  const policy = await loadPolicy({
    model,
    adapters: loaded,
    device,
    dtype,
    quantize,
    ...(await packedFile(options, fingerprint.model)),
    ...(threads !== undefined && { threads }),
    ...(batchTokens !== undefined && { batchTokens }),
    tokenBytes: tokenizer.tokenBytes(),
    ...(plan && { normalisation: plan.normalisation }),
  });
  for (const note of policy.info.notes) options.note(note);
  const vision =
    family.vision && plan && modelVision({ family, plan }, imageTokensOf(tokenizer, policy, family.vision), options);
  const image = family.vision && imageMarks(family.vision);
  const templates = new Map<string, Promise<ChatTemplate>>();
  const date = today();
  const noteDate = once(() => options.note(dateNote(date)));
  const noteTemplate = once(options.note);
  const renderer = (name: string, args: TemplateArgs) => {
    const key = JSON.stringify([name, args]);
    const load = { ...(image && { image }), eosIds: policy.info.eosIds, args, date, note: noteTemplate };
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
  // A missing template is an error before the first row.
  await renderer(options.template.asked ?? options.template.otherwise, templateArgs).then(({ render }) =>
    render([{ role: 'user', content: [{ type: 'text', text: 'Hi' }] }]),
  );
  const pool = createPixelPool(threads);
  return {
    context: {
      engine: policy,
      tokenizer,
      loadTemplate,
      template: options.template,
      templateArgs,
      ...(options.onSpecialText && { onSpecialText: options.onSpecialText }),
      ...(vision && { vision }),
      loadImage: imageLoader(pool, family),
      imageShape: shapeReader(family),
      imageDigest: imageDigester(),
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

/** Throws RunError{"checkpoint"} if a directory is not a model or not an adapter. */
export async function checkFolders(model: string, adapters: readonly string[]): Promise<void> {
  await checkModelFolder(model, adapters);
  for (const adapter of adapters) await checkAdapterFolder(adapter);
}

function modelVision(
  own: FamilyPlan & { plan: ImagePlan },
  tokens: ImageTokens,
  { images, note }: ModelOptions,
): ModelVision {
  const { family, plan } = own;
  const { modelTypes, vision } = family as Family & { vision: VisionFamily };
  const { mode, maxPixels, minPixels } = images;
  const { modeNote } = vision;
  const isChosen = mode.asked !== undefined || mode.otherwise !== undefined;
  return {
    family: vision,
    name: modelTypes[0],
    plan,
    asked: {
      ...(mode.asked !== undefined && { mode: mode.asked }),
      ...(maxPixels !== undefined && { maxPixels }),
      ...(minPixels !== undefined && { minPixels }),
    },
    tokens,
    ...(modeNote !== undefined && !isChosen && { onFamilyMode: once(() => note(modeNote)) }),
    onLargeImage: once(({ width, height }, numRows) => note(largeImageNote(`${width} x ${height}`, numRows, vision))),
  };
}

function largeImageNote(size: string, numRows: number, { hasPixelLimits }: VisionFamily): string {
  const helps = hasPixelLimits ? ' (--max-pixels lowers it)' : '';
  return `an image of ${size} pixels takes ${numRows} tokens of the prompt${helps}; further such images are not reported`;
}

/** How a family marks images in a text. */
export function imageMarks({ imageMark, imagesOnOwnLine }: VisionFamily): ImageMarks {
  return { mark: imageMark, onOwnLine: imagesOnOwnLine };
}

async function adapterFingerprints(adapters: string[]): Promise<string | string[] | null> {
  const all = await Promise.all(adapters.map(fingerprintAdapter));
  return all.length === 0 ? null : all.length === 1 ? all[0]! : all;
}

/** Path in --quantize-cache of this checkpoint's packed weights in this form. */
async function packedFile(
  { quantize = 'none', quantizeCache }: ModelOptions,
  fingerprint: string,
): Promise<{ quantizeCache?: string }> {
  if (quantizeCache === undefined || quantize === 'none') return {};
  try {
    await mkdir(quantizeCache, { recursive: true });
  } catch (cause) {
    throw new RunError('io', `--quantize-cache ${quantizeCache}: ${(cause as Error).message}`, { cause });
  }
  return { quantizeCache: join(quantizeCache, `${fingerprint.replace('sha256:', '')}.${quantize}.safetensors`) };
}

// With an unknown image token, the model would see no image.
function imageTokensOf(
  tokenizer: ModelTokenizer,
  { info }: Policy,
  { imageToken, videoToken }: VisionFamily,
): ImageTokens {
  const expected = info.vision?.imageTokenId;
  const id = tokenizer.tokenId(imageToken);
  if (id === undefined || id !== expected)
    throw new RunError(
      'tokenizer',
      `tokenizer.json: expected ${imageToken} with id ${expected} (config.json's image token), got ${id ?? 'no such token'}`,
    );
  const video = videoToken === undefined ? undefined : tokenizer.tokenId(videoToken);
  return { id, token: imageToken, ...(video !== undefined && { video: { id: video, token: videoToken! } }) };
}

function dateNote(date: string): string {
  return `the chat template writes the date: it gets ${date} (--template-arg ${DATE_ARGUMENT}=${date} fixes it; sample and precompute-ref record it)`;
}

function once<T extends unknown[]>(action: (...values: T) => void): (...values: T) => void {
  let isDone = false;
  return (...values) => {
    if (!isDone) action(...values);
    isDone = true;
  };
}
