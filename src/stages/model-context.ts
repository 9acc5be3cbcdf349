// SPDX-License-Identifier: Apache-2.0
// What sample, score and precompute-ref share: from a record to the engine's requests, the same way in all three.
import type { ImageInput, PolicyEngine } from '../engine/requests.ts';
import { PixelError } from '../pixels/pixel-error.ts';
import { RecordError, RunError } from '../records/error.ts';
import type { ViewInputs } from '../records/view.ts';
import { type ChatTemplate, promptTurns, type Turn } from '../text/chat-template.ts';
import { expandImages, type ImageTokens, type PromptIds, promptIds, responseIds } from '../text/prompt-ids.ts';
import type { ModelTokenizer } from '../text/tokenizer.ts';
import type { Row } from './stage.ts';

export type ImageMode = 'pad' | 'crop';

/** A loaded model with everything between a record and its requests. */
export interface ModelContext {
  engine: PolicyEngine;
  tokenizer: ModelTokenizer;
  loadTemplate(name: string): Promise<ChatTemplate>;
  template: Choice<string>;
  imageMode: Choice<ImageMode>;
  /** Called when an image's mode comes from no flag, preset or record. */
  onFamilyImageMode?: (mode: ImageMode) => void;
  /** RGB pixels of an image at the model's size. */
  loadPixels(image: string, mode: ImageMode): Promise<Uint8Array>;
  /** Aborts when the user asks to stop. */
  stop?: AbortSignal;
  /** How long the engine waits for rows that the input has not given yet; infinite where the input is files. */
  inputPatienceMs?: number;
  /** `sha256:...` of the model, and of its adapters. */
  fingerprint: { model: string; adapter: string | string[] | null };
}

/** What was asked for on the command line, and what holds when neither that nor the record says anything. */
export interface Choice<T> {
  asked?: T;
  otherwise: T;
}

/** How the record's prompt becomes ids and its images pixels. */
export interface RecordPlan {
  template: ChatTemplate;
  imageMode: ImageMode;
}

/** A prompt with its pixels, ready for requests. */
export interface PreparedPrompt {
  prompt: PromptIds;
  promptIds: Int32Array;
  images: ImageInput[];
}

/**
 * Template and image mode of a record. What its `ref` or `sampling` says holds; a flag that says otherwise is an error of the record.
 */
export async function planRecord(row: Row, context: ModelContext): Promise<RecordPlan> {
  const template = settle(row, 'template', context.template.asked) ?? context.template.otherwise;
  const carriedMode = settle(row, 'image_mode', context.imageMode.asked);
  const mode = carriedMode ?? context.imageMode.otherwise;
  if (mode !== 'pad' && mode !== 'crop') {
    throw new RecordError(row, carriedField(row, 'image_mode'), 'pad or crop', JSON.stringify(mode));
  }
  if (carriedMode === undefined && (row.record.images?.length ?? 0) > 0) context.onFamilyImageMode?.(mode);
  return { template: await context.loadTemplate(template), imageMode: mode };
}

function settle(row: Row, field: 'template' | 'image_mode', asked: string | undefined): string | undefined {
  const { ref, sampling } = row.record;
  const carried = ref?.[field] ?? sampling?.[field];
  if (carried !== undefined && asked !== undefined && asked !== carried) {
    const name = `--${field.replace('_', '-')}`;
    throw new RecordError(
      row,
      carriedField(row, field),
      `${JSON.stringify(asked)} as ${name} says`,
      JSON.stringify(carried),
    );
  }
  return carried ?? asked;
}

function carriedField(row: Row, field: 'template' | 'image_mode'): string {
  return row.record.ref?.[field] === undefined ? `sampling.${field}` : `ref.${field}`;
}

/** Pixels of a view's images, and the noise that the engine adds to them. Throws RecordError for an image that cannot be read. */
export function loadImages(row: Row, view: ViewInputs, plan: RecordPlan, context: ModelContext): Promise<ImageInput[]> {
  return Promise.all(
    view.images.map(async (source, index): Promise<ImageInput> => {
      try {
        const pixels = await context.loadPixels(source, plan.imageMode);
        return view.noise === undefined ? { pixels } : { pixels, noise: view.noise };
      } catch (cause) {
        if (!(cause instanceof PixelError)) throw cause;
        throw new RecordError(row, `images[${index}]`, cause.expected, `${cause.subject}: ${cause.got}`);
      }
    }),
  );
}

/** Prompt ids of complete turns. Throws RunError{"too-long"} when the prompt alone does not fit the model's positions. */
export function preparePrompt(
  turns: readonly Turn[],
  images: ImageInput[],
  plan: RecordPlan,
  context: ModelContext,
): PreparedPrompt {
  const image = imageTokens(context);
  const prompt = promptIds(turns, images.length, plan.template, context.tokenizer, image);
  const ids = expandImages(prompt.ids, image);
  // At least one token must come after it.
  checkLength(ids.length + 1, context, 'prompt');
  return { prompt, promptIds: ids, images };
}

/** The record's turns with the open ones but the last filled from `earlier`. Throws RecordError for one that stays open. */
export function writtenTurns(row: Row, numImages: number, earlier: string[] = []): Turn[] {
  const turns = promptTurns(row.record.prompt, numImages);
  if (turns.at(-1) === null) turns.pop();
  let filled = 0;
  return turns.map((turn, index): Turn => {
    if (turn !== null) return turn;
    const text = earlier[filled++];
    if (text === undefined)
      throw new RecordError(row, `prompt[${index}].content`, 'text (sample generates null turns)', 'null');
    return { role: 'assistant', content: [{ type: 'text', text }] };
  });
}

/** A text to score after a prompt. `end: false`: it was cut before its end token. */
export interface ResponseText {
  text: string;
  end?: boolean;
}

/** Summed log-probability and number of tokens of each response after one prompt: one tree, one request. */
export async function scoreResponses(
  prepared: PreparedPrompt,
  responses: readonly ResponseText[],
  context: ModelContext,
  signal: AbortSignal,
): Promise<{ logps: number; numTokens: number }[]> {
  const image = imageTokens(context);
  const branches = responses.map(({ text, end }) =>
    responseIds(prepared.prompt, text, context.tokenizer, image, { end: end ?? true }),
  );
  for (const branch of branches)
    checkLength(prepared.promptIds.length + branch.length - 1, context, 'prompt and response');
  const { promptIds: ids, images } = prepared;
  const scored = await context.engine.score({ promptIds: ids, images, branches }, signal);
  return scored.map((tokens) => ({ logps: sumLogps(tokens), numTokens: tokens.length }));
}

export function imageTokens(context: ModelContext): ImageTokens | undefined {
  const { vision } = context.engine.info;
  return vision && { id: vision.imageTokenId, rows: vision.imageRows };
}

/** Throws RunError{"too-long"} when `length` rows do not fit the model's positions. */
export function checkLength(length: number, context: ModelContext, what: string): void {
  const { maxPositions } = context.engine.info;
  if (length > maxPositions) {
    throw new RunError(
      'too-long',
      `${what}: expected at most ${maxPositions} tokens (max_position_embeddings), got ${length}`,
    );
  }
}

function sumLogps(tokens: Float32Array): number {
  let sum = 0;
  for (const logp of tokens) sum += logp;
  return sum;
}

/** What `sampling` and `ref` say about the model and the way to it. */
export function provenance(
  plan: RecordPlan,
  context: ModelContext,
): {
  model: string;
  adapter: string | string[] | null;
  dtype: string;
  template: string;
  image_mode?: string;
} {
  const { fingerprint, engine } = context;
  return {
    ...fingerprint,
    dtype: engine.info.dtype,
    template: plan.template.name,
    ...(engine.info.vision && { image_mode: plan.imageMode }),
  };
}
