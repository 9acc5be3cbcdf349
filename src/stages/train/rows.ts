// SPDX-License-Identifier: Apache-2.0
// Converts a preference or single-response record to the trainer's row: one prefix tree with the branches that the loss reads.

import type { ImageInput } from '../../engine/requests.ts';
import type { LossNeeds, RowSize, TrainRow, TrainSegment } from '../../engine/train-requests.ts';
import type { Row } from '../../flow/stage.ts';
import type { ModelContext, PreparedPrompt, RecordPlan } from '../../model/context.ts';
import { loadImages, preparePrompt, responseTokenIds, writtenTurns } from '../../model/prompt.ts';
import { planRecord } from '../../model/record-plan.ts';
import { count } from '../../records/count.ts';
import { placed, RecordError, RunError, UsageError } from '../../records/error.ts';
import type { VprefRecord } from '../../records/record.ts';
import type { Turn } from '../../text/chat-template.ts';
import { expandImages, promptIds, responseIds } from '../../text/prompt-ids.ts';
import { rowSize } from './memory.ts';
import { weightAndBeta } from './row-weight.ts';

export interface RowOptions {
  needs: LossNeeds;
  /** Assistant turns that are targets of an SFT row. */
  lossOn: 'last' | 'all';
}

/** The record's row for the trainer. Throws RecordError with its place for a missing or invalid field. */
export function prepareTrainRow(row: Row, options: RowOptions, context: ModelContext): Promise<TrainRow> {
  return buildRow(row, options, context).catch((cause: unknown) => {
    if (isTooLong(cause)) throw new UsageError(`${row.source}:${row.line}: ${cause.message}`, { cause });
    throw placed(row, cause);
  });
}

/** Whether an error means that a row is longer than the model's positions or --max-length. */
export function isTooLong(cause: unknown): cause is Error {
  return cause instanceof UsageError ? isTooLong(cause.cause) : cause instanceof RunError && cause.code === 'too-long';
}

/** The row's size: prepares it without decoding its images. Throws as prepareTrainRow does. */
export async function measureTrainRow(row: Row, options: RowOptions, context: ModelContext): Promise<RowSize> {
  const unread: ModelContext['loadImage'] = async (source, plan, ops) => {
    const { crops, ...size } = await context.imageShape(source, plan, ops);
    return { ...size, crops: crops.map((crop) => ({ ...crop, pixels: NO_PIXELS })) };
  };
  const prepared = await prepareTrainRow(row, options, { ...context, loadImage: unread });
  return rowSize(prepared, (image) => context.engine.layout(image));
}

const NO_PIXELS = new Uint8Array();

async function buildRow(row: Row, options: RowOptions, context: ModelContext): Promise<TrainRow> {
  const plan = await planRecord(row, context);
  const clean = await loadImages(row, { images: row.record.images ?? [] }, plan, context);
  const turns = writtenTurns(row, clean.length, context);
  const prepared = preparePrompt(turns, clean, plan, context);
  const asPair = isPair(row, options.needs);
  if (options.needs.label && row.record.label === undefined)
    throw new RecordError(row, 'label', 'true or false (pair --rule kto)', 'nothing');
  const base = { id: row.record.id, label: row.record.label ?? true, ...weightAndBeta(row) };
  const ref = referenceSums(row, options.needs);
  const shared = ref === undefined ? base : { ...base, ref };
  if (!asPair) {
    const segments = responseSegments(row, turns, prepared, plan, options, context);
    return { ...shared, segments, images: prepared.images, numRejected: 0, numRejectedImages: 0 };
  }
  const rejected = rejectedTexts(row);
  const texts = [chosenText(row), ...rejected];
  const segments = tree(prepared, 0, texts, 0, 0, context);
  const images = [...prepared.images];
  const damaged = options.needs.rejectedImages ? damagedImages(row) : [];
  for (const [index, sources] of damaged.entries()) {
    const other = preparePrompt(turns, await loadImages(row, { images: sources }, plan, context), plan, context);
    segments.push(...tree(other, segments.length, texts.slice(0, 1), texts.length + index, images.length, context));
    images.push(...other.images);
  }
  return { ...shared, segments, images, numRejected: rejected.length, numRejectedImages: damaged.length };
}

/** Whether the loss reads the record as a pair. Throws RecordError if it is both or neither. */
export function isPair(row: Row, { rejected, rejectedOrLabel }: LossNeeds): boolean {
  if (!rejectedOrLabel) return rejected;
  const { record } = row;
  const hasRejected = record.rejected !== undefined;
  if (hasRejected && record.response !== undefined && record.label !== undefined)
    throw new RecordError(row, 'rejected', 'a pair, or a response with a label', 'both');
  if (!hasRejected && record.label === undefined)
    throw new RecordError(row, 'label', 'true or false, or a rejected answer beside the chosen one', 'neither');
  return hasRejected;
}

/** The record's reference sums in branch order, or undefined if one that the loss reads is missing. Throws RecordError if there are too few or too many. */
export function referenceSums({ record, ...at }: Row, needs: LossNeeds): number[] | undefined {
  if (!needs.reference) return undefined;
  if (!isPair({ record, ...at }, needs)) {
    const sum = record.ref_response_logps ?? (record.response === undefined ? record.ref_chosen_logps : undefined);
    return sum === undefined ? undefined : [sum];
  }
  const list = (name: 'ref_rejected_logps' | 'ref_chosen_logps_rejected_images', expected: number) => {
    if (record[name] === undefined) return undefined;
    const sums = [record[name]].flat();
    if (sums.length !== expected) throw new RecordError(at, name, count(expected, 'number'), String(sums.length));
    return sums;
  };
  const chosen = record.ref_chosen_logps;
  const rejected = list('ref_rejected_logps', [record.rejected ?? []].flat().length);
  const images = needs.rejectedImages ? list('ref_chosen_logps_rejected_images', imageLists(record).length) : [];
  if (chosen === undefined || rejected === undefined || images === undefined) return undefined;
  return [chosen, ...rejected, ...images];
}

// A prompt and its branches as segments from index `at`; `images` is the index of the prompt's first image.
function tree(
  prepared: PreparedPrompt,
  at: number,
  texts: readonly string[],
  firstBranch: number,
  firstImage: number,
  context: ModelContext,
): TrainSegment[] {
  const root = {
    parent: -1,
    ids: prepared.promptIds,
    images: Int32Array.from(prepared.images, (_: ImageInput, index: number) => firstImage + index),
    branch: -1,
  };
  const branches = texts.map((text, index): TrainSegment => {
    const ids = responseTokenIds(prepared, { text }, context, index === 0 ? 'chosen' : 'rejected');
    return { parent: at, ids, images: new Int32Array(), branch: firstBranch + index };
  });
  return [root, ...branches];
}

// One response; with --loss-on all, earlier assistant turns are targets too, so the dialogue is one segment after its first tokens.
function responseSegments(
  row: Row,
  turns: readonly Turn[],
  prepared: PreparedPrompt,
  plan: RecordPlan,
  options: RowOptions,
  context: ModelContext,
): TrainSegment[] {
  const text = row.record.response ?? row.record.chosen;
  if (text === undefined) throw new RecordError(row, 'response', 'the answer to learn from', 'nothing');
  const segments = tree(prepared, 0, [text], 0, 0, context);
  if (options.lossOn === 'last' || !turns.some(({ role }) => role === 'assistant')) return segments;
  const scored = scoredTurns(row, turns, prepared, plan, context);
  const split = scored.indexOf(1);
  const [root, last] = segments as [TrainSegment, TrainSegment];
  const isImage = (id: number) => id === context.vision?.tokens.id;
  if (root.ids.subarray(split).some(isImage))
    throw new RecordError(row, 'prompt', 'images before the first assistant turn (--loss-on all)', 'an image after it');
  const ids = new Int32Array(root.ids.length - split + last.ids.length);
  ids.set(root.ids.subarray(split));
  ids.set(last.ids, root.ids.length - split);
  const mask = new Uint8Array(ids.length).fill(1);
  mask.set(scored.subarray(split));
  return [
    { ...root, ids: root.ids.slice(0, split) },
    { ...last, ids, scored: mask },
  ];
}

// Expanded prompt ids of earlier assistant responses: those between the ids of the text before the turn and of the text with it.
function scoredTurns(
  row: Row,
  turns: readonly Turn[],
  prepared: PreparedPrompt,
  plan: RecordPlan,
  context: ModelContext,
): Uint8Array {
  const image = context.vision?.tokens;
  const scored = new Uint8Array(prepared.promptIds.length);
  const grown = (numIds: number) => expandImages(prepared.prompt.ids.slice(0, numIds), image, prepared.imageIds).length;
  for (const [index, turn] of turns.entries()) {
    if (turn.role !== 'assistant') continue;
    const before = turns.slice(0, index);
    const numImages = before.flatMap(({ content }) => content).filter(({ type }) => type === 'image').length;
    const start = promptIds(before, numImages, plan.template, context.tokenizer, image);
    const text = turn.content.map((part) => (part.type === 'text' ? part.text : '')).join('');
    const own = responseIds(start, text, context.tokenizer, image, { end: false });
    const ids = [...start.ids, ...own];
    if (!ids.every((id, place) => prepared.prompt.ids[place] === id))
      throw new RecordError(
        row,
        `prompt.${index}.content`,
        'an answer whose tokens stand alone (--loss-on all)',
        'one that merges with its surroundings',
      );
    // If the template closes a turn with the end token, it is a target too.
    const { end } = plan.template.assistantTurn();
    const ends = [...context.engine.info.eosIds, end === undefined ? -1 : context.tokenizer.tokenId(end)];
    const closed = ends.includes(prepared.prompt.ids[ids.length] ?? -2) ? 1 : 0;
    scored.fill(1, grown(start.ids.length), grown(ids.length + closed));
  }
  return scored;
}

function chosenText(row: Row): string {
  const { chosen } = row.record;
  if (chosen === undefined) throw new RecordError(row, 'chosen', 'a string', 'nothing');
  return chosen;
}

function rejectedTexts(row: Row): string[] {
  const rejected = [row.record.rejected ?? []].flat();
  if (rejected.length === 0) throw new RecordError(row, 'rejected', 'a string or strings', 'nothing');
  return rejected;
}

function damagedImages(row: Row): string[][] {
  const lists = imageLists(row.record);
  if (lists.length === 0) throw new RecordError(row, 'rejected_images', 'images (pair --image-negatives)', 'nothing');
  return lists;
}

/** `rejected_images` as one list of images per negative. */
function imageLists(record: VprefRecord): string[][] {
  const images = record.rejected_images ?? [];
  return images.length > 0 && typeof images[0] === 'string' ? [images as string[]] : (images as string[][]);
}
