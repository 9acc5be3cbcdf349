// SPDX-License-Identifier: Apache-2.0
// What every export format writes, taken out of a record: a conversation with image slots, and what to learn from it.

import type { Row } from '../../flow/stage.ts';
import { RecordError } from '../../records/error.ts';
import { countImageMarks, IMAGE_MARK, placeImages, promptMessages, trimAroundImages } from '../../records/prompt.ts';
import type { ContentPart, VprefRecord } from '../../records/record.ts';

export interface ExportTurn {
  role: 'system' | 'user' | 'assistant';
  content: ContentPart[];
  /** The record has it as a text with marks: line breaks around them belong to the marks. */
  isText: boolean;
}

export interface Preference {
  chosen: string;
  rejected: string;
  /** Summed log-probabilities under the reference, where precompute-ref has run. */
  refLogps?: { chosen: number; rejected: number };
  /** Damaged images for image-side preference. */
  rejectedImages?: string[];
}

/** One row of a trainer's file before it has that trainer's form. */
export interface Example {
  id: string;
  images: string[];
  turns: ExportTurn[];
  /** The prompt says itself where images go; else they lead its first user turn. */
  hasWrittenSlots: boolean;
  /** A pair of answers, or one answer (marked good or bad under KTO). */
  preference?: Preference;
  response?: string;
  label?: boolean;
}

/** The examples of a record: one, or one per rejected answer. Throws RecordError. */
export function recordExamples(row: Row, imagePath: (path: string, field: string) => string): Example[] {
  const { record } = row;
  const images = (record.images ?? []).map((image, index) => imagePath(image, `images[${index}]`));
  const numSlots = countImageMarks(record.prompt);
  if (numSlots !== 0 && numSlots !== images.length)
    throw new RecordError(row, 'prompt', `${images.length} image slots or none written`, String(numSlots));
  const base = { id: record.id, images, turns: promptTurns(row, images.length), hasWrittenSlots: numSlots > 0 };
  const { chosen, rejected, response, label } = record;
  const isPair = chosen !== undefined && rejected !== undefined && !(Array.isArray(rejected) && rejected.length === 0);
  if (!isPair) {
    if (response !== undefined) return [{ ...base, response, ...(label !== undefined && { label }) }];
    const missing = chosen === undefined ? 'chosen' : 'rejected';
    throw new RecordError(row, missing, 'chosen and rejected, or response (see vpref pair)', 'nothing');
  }
  const several = Array.isArray(rejected) ? rejected : [rejected];
  return several.map((text, index) => ({
    ...base,
    id: several.length > 1 ? `${record.id}#${index}` : record.id,
    preference: preference(record, chosen, text, index, imagePath),
  }));
}

function preference(
  record: VprefRecord,
  chosen: string,
  rejected: string,
  index: number,
  imagePath: (path: string, field: string) => string,
): Preference {
  const { ref_chosen_logps: refChosen, ref_rejected_logps: refs, rejected_images: sets } = record;
  const refRejected = Array.isArray(refs) ? refs[index] : refs;
  const images = Array.isArray(sets?.[0]) ? sets[0] : (sets as string[] | undefined);
  return {
    chosen,
    rejected,
    ...(refChosen !== undefined &&
      refRejected !== undefined && { refLogps: { chosen: refChosen, rejected: refRejected } }),
    ...(images !== undefined && {
      rejectedImages: images.map((image, at) => imagePath(image, `rejected_images[${at}]`)),
    }),
  };
}

/** Turns with one image part per image. Throws RecordError for turns yet to be generated. */
function promptTurns(row: Row, numImages: number): ExportTurn[] {
  const written = promptMessages(row.record.prompt);
  const turns = placeImages(row.record.prompt, numImages).map(({ role, content }, index): ExportTurn => {
    if (content === null || typeof content === 'string')
      throw new RecordError(row, `prompt[${index}].content`, 'a turn with text', 'null: sample has not filled it');
    if (role !== 'user' && content.some((part) => part.type === 'image'))
      throw new RecordError(row, `prompt[${index}]`, 'images in user turns only', `one in a turn of ${role}`);
    return { role, content, isText: typeof written[index]!.content === 'string' };
  });
  if (numImages > 0 && !turns.some(({ role }) => role === 'user'))
    throw new RecordError(row, 'prompt', 'a user turn for the images', 'none');
  return turns;
}

/** The turn's parts, without the line breaks that only part a mark from its text. */
export function turnParts({ content, isText }: ExportTurn): ContentPart[] {
  return isText ? trimAroundImages(content) : content;
}

/** Throws RecordError unless user and assistant take turns after a system turn, user first and last. */
export function checkAlternation(row: Row, turns: readonly ExportTurn[]): void {
  const first = turns[0]?.role === 'system' ? 1 : 0;
  for (const [index, { role }] of turns.slice(first).entries()) {
    const expected = index % 2 === 0 ? 'user' : 'assistant';
    if (role !== expected) throw new RecordError(row, `prompt[${index + first}].role`, `"${expected}"`, `"${role}"`);
  }
  if ((turns.length - first) % 2 === 1) return;
  const got = turns.length === first ? 'none' : 'an assistant turn';
  throw new RecordError(row, 'prompt', 'a user turn at its end', got);
}

/**
 * The turn as text with `<image>` for each slot; images that lead stand on lines of their own, as LLaVA was trained.
 * Throws RecordError if a text has one of the format's marks.
 */
export function turnText(row: Row, { turns, hasWrittenSlots }: Example, index: number, marks = IMAGE_MARKS): string {
  const mark = hasWrittenSlots ? IMAGE_MARK : `${IMAGE_MARK}\n`;
  const turn = turns[index]!;
  const parts = hasWrittenSlots ? turn.content : turnParts(turn);
  return parts
    .map((part) => (part.type === 'image' ? mark : plainText(row, part.text, `prompt[${index}]`, marks)))
    .join('');
}

/** What a format takes for a slot of this kind when it stands in a text. */
export type Marks = readonly (readonly [pattern: RegExp, kind: string])[];

/** `<image>`, and Qwen's tag around a path, which import reads in every format. */
export const IMAGE_MARKS: Marks = [
  [/<image>/, 'an image slot'],
  [/<img>[^<>\n]+<\/img>/, 'an image'],
];
/** Those of LLaMA-Factory and ms-swift, which read videos and audio too. */
export const MEDIA_MARKS: Marks = [...IMAGE_MARKS, [/<video>/, 'a video slot'], [/<audio>/, 'an audio slot']];

/** The text, which a format with marks can hold. Throws RecordError for a text with one. */
export function plainText(row: Row, text: string, field: string, marks = IMAGE_MARKS): string {
  for (const [pattern, kind] of marks) {
    const mark = pattern.exec(text)?.[0];
    if (mark === undefined) continue;
    const expected = `text without ${mark.trim().slice(0, 40)}, which this format takes for ${kind}`;
    throw new RecordError(row, field, expected, JSON.stringify(text.slice(0, 40)));
  }
  return text;
}
