// SPDX-License-Identifier: Apache-2.0
// Converts a record to the engine's requests, for all model stages: images to crops, turns to ids, responses to ids after them.
import type { ImageInput } from '../engine/requests.ts';
import { pixelFault } from '../flow/pixel-fault.ts';
import type { Row } from '../flow/stage.ts';
import { FieldError, RecordError, RunError } from '../records/error.ts';
import type { VprefRecord } from '../records/record.ts';
import type { ViewInputs } from '../records/view.ts';
import { promptTurns, type Turn } from '../text/chat-template.ts';
import { expandImages, imageIds, promptIds, responseIds } from '../text/prompt-ids.ts';
import type { ModelContext, PreparedPrompt, RecordPlan, ResponseText } from './context.ts';

/** Crops of a view's images, and the noise that the engine adds to them. Throws RecordError for an unreadable image. */
export function loadImages(row: Row, view: ViewInputs, plan: RecordPlan, context: ModelContext): Promise<ImageInput[]> {
  return Promise.all(
    view.images.map(async (source, index): Promise<ImageInput> => {
      if (plan.images === undefined)
        throw new FieldError('image-count', 'images', 'none for a text-only model', 'some');
      try {
        const image = await context.loadImage(source, plan.images, view.ops?.[index]);
        return view.noise === undefined ? image : { ...image, noise: view.noise };
      } catch (cause) {
        throw pixelFault(row, cause, index);
      }
    }),
  );
}

/** An image with more tokens gives a note, because it dominates the prompt's cost. */
const LARGE_IMAGE_ROWS = 4096;

/** Prompt ids of complete turns. Throws RunError{"too-long"} if the prompt exceeds the model's positions. */
export function preparePrompt(
  turns: readonly Turn[],
  images: ImageInput[],
  plan: RecordPlan,
  context: ModelContext,
): PreparedPrompt {
  const tokens = context.vision?.tokens;
  const prompt = promptIds(turns, images.length, plan.template, context.tokenizer, tokens);
  const made = images.map((image) => expansionOf(image, plan, context));
  const expansions = made.map(({ ids }) => ids);
  const ids = expandImages(prompt.ids, tokens, expansions);
  checkVocabulary(ids, context, 'prompt');
  const numPositions = made.reduce((sum, { numRows, positionSpan }) => sum - numRows + positionSpan, ids.length);
  // At least one token must follow.
  checkLength(numPositions + 1, context, 'prompt');
  return { prompt, promptIds: ids, numPositions, imageIds: expansions, images };
}

// The engine gives the runs of image positions, the family the text between them.
function expansionOf(
  image: ImageInput,
  plan: RecordPlan,
  { vision, engine, tokenizer }: ModelContext,
): { ids: number[]; numRows: number; positionSpan: number } {
  const { family, tokens, onLargeImage } = vision!;
  const { height, width, crops } = image;
  const shape = { height, width, crops: crops.map((crop) => ({ height: crop.height, width: crop.width })) };
  const { runs, numRows, positionSpan } = engine.layout(shape);
  if (numRows > LARGE_IMAGE_ROWS) onLargeImage?.(shape, numRows);
  const ids = imageIds(family.expansion(image, plan.images!), runs, tokens, tokenizer);
  return { ids, numRows, positionSpan };
}

/** The prompt's turns; null for open ones. */
export function openTurns(prompt: VprefRecord['prompt'], numImages: number, { vision }: ModelContext): (Turn | null)[] {
  return promptTurns(prompt, numImages, { onOwnLine: vision?.family.imagesOnOwnLine ?? false });
}

/** The record's turns, with all open ones except the last filled from `earlier`. Throws RecordError for one that stays open. */
export function writtenTurns(row: Row, numImages: number, context: ModelContext, earlier: string[] = []): Turn[] {
  const turns = openTurns(row.record.prompt, numImages, context);
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

/** Ids of a response. Throws FieldError for ids beyond the vocabulary, RunError{"too-long"} if prompt and response exceed the positions. */
export function responseTokenIds(
  prepared: Pick<PreparedPrompt, 'prompt' | 'promptIds' | 'numPositions'>,
  { text, end = true }: ResponseText,
  context: ModelContext,
  field = 'response',
): Int32Array {
  const ids = responseIds(prepared.prompt, text, context.tokenizer, context.vision?.tokens, { end });
  checkVocabulary(ids, context, field);
  const length = prepared.promptIds.length + ids.length;
  checkLength(prepared.numPositions + ids.length - 1, context, 'prompt and response');
  if (context.maxLength !== undefined && length > context.maxLength)
    throw new RunError(
      'too-long',
      `prompt and response: expected at most ${context.maxLength} tokens (--max-length), got ${length}`,
    );
  return ids;
}

/** A scored text. */
export interface ScoredText {
  logps: number;
  numTokens: number;
  ids: Int32Array;
  perTokenLogps: Float32Array;
}

/** Log-probabilities of each response after one prompt: one tree, one request. */
export async function scoreResponses(
  prepared: PreparedPrompt,
  responses: readonly ResponseText[],
  context: ModelContext,
  signal: AbortSignal,
): Promise<ScoredText[]> {
  const branches = responses.map((response) => responseTokenIds(prepared, response, context));
  const { promptIds: ids, images } = prepared;
  const scored = await context.engine.score({ promptIds: ids, images, branches }, signal);
  return scored.map((tokens, index) => ({
    ...{ logps: sumLogps(tokens), numTokens: tokens.length },
    ...{ ids: branches[index]!, perTokenLogps: tokens },
  }));
}

/** Throws RunError{"too-long"} if `length` exceeds the model's positions. */
function checkLength(length: number, context: ModelContext, what: string): void {
  const { maxPositions } = context.engine.info;
  if (length > maxPositions) {
    throw new RunError(
      'too-long',
      `${what}: expected at most ${maxPositions} tokens (max_position_embeddings), got ${length}`,
    );
  }
}

// A tokenizer may have more tokens than the embedding has rows.
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
