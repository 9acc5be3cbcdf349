// SPDX-License-Identifier: Apache-2.0
// Canonical ids of prompt and response.
//   prompt   = chat template with the start of the response, tokenised with BOS; each image token replaced by its image's ids
//   response = the ids that tokenising `prompt text + joint + response + end` adds; joint and end come from the template (assistant-turn.ts)
// All commands that generate, score or train use this file, so a log-probability means the same in all.
import { FieldError, RunError } from '../records/error.ts';
import type { ChatTemplate, Turn } from './chat-template.ts';
import type { ModelTokenizer } from './tokenizer.ts';

/** A prompt ready for the engine. */
export interface PromptIds {
  /** The rendered text, one image token per image. */
  readonly text: string;
  /** Ids before expansion: one image token per image. */
  readonly ids: readonly number[];
  readonly template: ChatTemplate;
}

/** The image part of a model's vocabulary; `undefined` for a text-only model. */
export interface ImageTokens {
  /** Id of an image before expansion, and of each image position after. */
  id: number;
  /** The token's text. */
  token: string;
  /** The video token, which no text may contain. */
  video?: { id: number; token: string };
}

/** Tokenises the rendered turns. Throws FieldError{"image-count"} unless there are exactly `numImages` image tokens, {"video"} for a video token. */
export function promptIds(
  turns: readonly Turn[],
  numImages: number,
  template: ChatTemplate,
  tokenizer: ModelTokenizer,
  image: ImageTokens | undefined,
): PromptIds {
  if (image === undefined && numImages > 0) {
    throw new FieldError('image-count', 'images', 'none for a text-only model', String(numImages));
  }
  const text = template.render(turns);
  const ids = encodeWithBos(text, tokenizer);
  refuseVideo(ids, 'prompt', image);
  const found = image === undefined ? 0 : ids.filter((id) => id === image.id).length;
  if (found !== numImages) {
    throw new FieldError(
      'image-count',
      'prompt',
      `as many ${image?.token} as images (${numImages})`,
      `${found} after the chat template`,
    );
  }
  return { text, ids, template };
}

/**
 * Ids of a response after the prompt, end token included. `end: false` leaves the end token out (a response that was cut), a text names another token.
 * Throws FieldError{"image-count"} if the response contains an image token, {"video"} for a video token, RunError{"template"} if the template does not show a turn's end.
 */
export function responseIds(
  prompt: PromptIds,
  response: string,
  tokenizer: ModelTokenizer,
  image: ImageTokens | undefined,
  { end = true }: { end?: boolean | string } = {},
): Int32Array {
  const turn = prompt.template.assistantTurn();
  const endToken = end === true ? (turn.end ?? '') : end === false ? '' : end;
  const continuation = `${turn.joint(prompt.text)}${response}${endToken}`;
  const whole = encodeWithBos(prompt.text + continuation, tokenizer);
  const added = startsWith(whole, prompt.ids)
    ? whole.slice(prompt.ids.length)
    : continuationIds(continuation, tokenizer);
  refuseVideo(added, 'response', image);
  if (image !== undefined && added.includes(image.id)) {
    throw new FieldError('image-count', 'response', `text without ${image.token}`, 'one');
  }
  return Int32Array.from(added);
}

/**
 * The expanded ids of an image: `text` with one image token per run, repeated once per position of the run. Throws
 * RunError{"tokenizer"} if the tokenizer does not find the runs' tokens in the text.
 */
export function imageIds(
  text: string,
  runs: readonly number[],
  image: ImageTokens,
  tokenizer: Pick<ModelTokenizer, 'encode'>,
): number[] {
  const ids = text === image.token ? [image.id] : tokenizer.encode(text);
  const found = ids.filter((id) => id === image.id).length;
  if (found !== runs.length)
    throw new RunError('tokenizer', `an image's text: expected ${runs.length} ${image.token}, got ${found}`);
  let next = 0;
  return ids.flatMap((id) => (id === image.id ? new Array<number>(runs[next++]!).fill(id) : id));
}

/** Ids with each image token replaced by the ids of its image, in order. */
export function expandImages(
  ids: readonly number[],
  image: ImageTokens | undefined,
  images: readonly (readonly number[])[],
): Int32Array {
  let next = 0;
  return Int32Array.from(ids.flatMap((id) => (id === image?.id ? images[next++]! : id)));
}

function refuseVideo(ids: readonly number[], field: string, image: ImageTokens | undefined): void {
  const video = image?.video;
  if (video !== undefined && ids.includes(video.id))
    throw new FieldError('video', field, `text without ${video.token} (pictures alone, no video)`, 'one');
}

function encodeWithBos(text: string, tokenizer: ModelTokenizer): number[] {
  const ids = tokenizer.encode(text);
  const { bosIds } = tokenizer;
  // A template may write BOS itself; then add no second one.
  return bosIds.length > 0 && !startsWith(ids, bosIds) ? [...bosIds, ...ids] : ids;
}

// A merge across the border would change the prompt's ids, which all branches share. Then the continuation is tokenised after a
// character that cannot merge with it, and that character's ids are removed.
function continuationIds(continuation: string, tokenizer: ModelTokenizer): number[] {
  for (const anchor of ['\n', ':', '|']) {
    const before = tokenizer.encode(anchor);
    const whole = tokenizer.encode(anchor + continuation);
    if (startsWith(whole, before)) return whole.slice(before.length);
  }
  return tokenizer.encode(continuation);
}

function startsWith(ids: readonly number[], prefix: readonly number[]): boolean {
  return prefix.length <= ids.length && prefix.every((id, index) => ids[index] === id);
}
