// SPDX-License-Identifier: Apache-2.0
// What sample, score and precompute-ref share: from a record to the engine's requests, the same way in all three.
import type { ImageInput, PolicyEngine } from '../engine/requests.ts';
import type { Row } from '../flow/stage.ts';
import { FieldError, RecordError, RunError } from '../records/error.ts';
import { IMAGE_MARK } from '../records/prompt.ts';
import type { ContentPart, TemplateArgs, ViewOp } from '../records/record.ts';
import type { ViewInputs } from '../records/view.ts';
import { type ChatTemplate, DATE_ARGUMENT, promptTurns, type Turn } from '../text/chat-template.ts';
import { expandImages, type ImageTokens, type PromptIds, promptIds, responseIds } from '../text/prompt-ids.ts';
import { isDate } from '../text/strftime.ts';
import type { ModelTokenizer } from '../text/tokenizer.ts';
import { pixelFault } from './pixel-fault.ts';

export type ImageMode = 'pad' | 'crop';

/** A loaded model with everything between a record and its requests. */
export interface ModelContext {
  engine: PolicyEngine;
  tokenizer: ModelTokenizer;
  /** With the arguments that it is given; the run's date where they have none. */
  loadTemplate(name: string, args?: TemplateArgs): Promise<ChatTemplate>;
  template: Choice<string>;
  /** What --template-arg gave. */
  templateArgs?: TemplateArgs;
  /** Called for a record whose texts hold a special token. */
  onSpecialText?(row: Row, token: string): void;
  imageMode: Choice<ImageMode>;
  /** Called when an image's mode comes from no flag, preset or record. */
  onFamilyImageMode?: (mode: ImageMode) => void;
  /** RGB pixels of an image at the model's size, after the operations of a view. */
  loadPixels(image: string, mode: ImageMode, ops?: readonly ViewOp[]): Promise<Uint8Array>;
  /** Digest of an image file's bytes. */
  imageDigest(image: string): Promise<string>;
  /** How the checkpoint's processor makes pixels; absent for a text-only model. */
  pixelPlan?: object;
  /** Most tokens of a prompt with an answer (--max-length). */
  maxLength?: number;
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
  const args = settleArguments(row, context.templateArgs ?? {});
  noteSpecialText(row, context);
  return { template: await context.loadTemplate(template, args), imageMode: mode };
}

// The record's own arguments hold, where it says how its texts were rendered.
function settleArguments(row: Row, asked: TemplateArgs): TemplateArgs {
  const { ref, sampling } = row.record;
  const source = ref?.template === undefined ? sampling : ref;
  if (source?.template === undefined) return asked;
  const carried = source.template_args ?? {};
  const field = `${source === ref ? 'ref' : 'sampling'}.template_args`;
  for (const [name, value] of Object.entries(asked)) {
    const [wanted, got] = [JSON.stringify(value), JSON.stringify(carried[name]) ?? 'nothing'];
    if (wanted !== got) throw new RecordError(row, `${field}.${name}`, `${wanted} as --template-arg says`, got);
  }
  const date = carried[DATE_ARGUMENT];
  if (date !== undefined && !(typeof date === 'string' && isDate(date)))
    throw new RecordError(row, `${field}.${DATE_ARGUMENT}`, 'a date YYYY-MM-DD', JSON.stringify(date));
  return carried;
}

// Special tokens in a text are read as tokens, as transformers does.
function noteSpecialText(row: Row, { onSpecialText, tokenizer }: ModelContext): void {
  if (onSpecialText === undefined) return;
  const { prompt, chosen, rejected, response, responses, choices } = row.record;
  const turns = typeof prompt === 'string' ? [prompt] : prompt.map(({ content }) => content);
  const written = turns
    .flatMap((content): (string | ContentPart)[] => (Array.isArray(content) ? content : [content ?? '']))
    .map((part) => (typeof part === 'string' ? part : part.type === 'text' ? part.text : ''))
    .map((text) => text.replaceAll(IMAGE_MARK, ''));
  const answers = [chosen, rejected, response, choices, responses?.map(({ text }) => text)].flat(2);
  for (const text of [...written, ...answers]) {
    const found = text === undefined ? undefined : tokenizer.findSpecial(text);
    if (found !== undefined) {
      onSpecialText(row, found.token);
      return;
    }
  }
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
        const pixels = await context.loadPixels(source, plan.imageMode, view.ops?.[index]);
        return view.noise === undefined ? { pixels } : { pixels, noise: view.noise };
      } catch (cause) {
        throw pixelFault(row, cause, index);
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
  checkVocabulary(ids, context, 'prompt');
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

/** A text to score after a prompt. `end: false`: it was cut before its end token; a text: it ended in that token. */
export interface ResponseText {
  text: string;
  end?: boolean | string;
}

/** Ids of an answer. Throws FieldError for ids beyond the vocabulary, RunError{"too-long"} where it does not fit behind its prompt. */
export function answerIds(
  prepared: Pick<PreparedPrompt, 'prompt' | 'promptIds'>,
  { text, end = true }: ResponseText,
  context: ModelContext,
  field = 'response',
): Int32Array {
  const ids = responseIds(prepared.prompt, text, context.tokenizer, imageTokens(context), { end });
  checkVocabulary(ids, context, field);
  const length = prepared.promptIds.length + ids.length;
  checkLength(length - 1, context, 'prompt and response');
  if (context.maxLength !== undefined && length > context.maxLength)
    throw new RunError(
      'too-long',
      `prompt and response: expected at most ${context.maxLength} tokens (--max-length), got ${length}`,
    );
  return ids;
}

/** Summed log-probability and number of tokens of each response after one prompt: one tree, one request. */
export async function scoreResponses(
  prepared: PreparedPrompt,
  responses: readonly ResponseText[],
  context: ModelContext,
  signal: AbortSignal,
): Promise<{ logps: number; numTokens: number }[]> {
  const branches = responses.map((response) => answerIds(prepared, response, context));
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

// A tokenizer with more tokens than the embedding has rows.
function checkVocabulary(ids: Int32Array, { engine, tokenizer }: ModelContext, field: string): void {
  const { vocabSize } = engine.info;
  const id = ids.find((one) => one < 0 || one >= vocabSize);
  if (id === undefined) return;
  const token = JSON.stringify(tokenizer.tokenText(id) ?? '');
  throw new FieldError('vocabulary', field, `token ids below ${vocabSize} (vocab_size)`, `${id} (${token})`);
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
  template_args?: TemplateArgs;
  image_mode?: string;
} {
  const { fingerprint, engine } = context;
  const { name, args } = plan.template;
  return {
    ...fingerprint,
    dtype: engine.info.dtype,
    template: name,
    ...(Object.keys(args).length > 0 && { template_args: args }),
    ...(engine.info.vision && { image_mode: plan.imageMode }),
  };
}
