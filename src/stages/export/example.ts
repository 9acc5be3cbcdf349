// SPDX-License-Identifier: Apache-2.0
// The content of a record that every export format writes: a conversation with image slots, and its training target.

import type { Row } from '../../flow/stage.ts';
import { RecordError } from '../../records/error.ts';
import { countImageMarks, IMAGE_MARK, placeImages, promptMessages, trimAroundImages } from '../../records/prompt.ts';
import type { ContentPart, VprefRecord } from '../../records/record.ts';

export interface ExportTurn {
  role: 'system' | 'user' | 'assistant';
  content: ContentPart[];
  /** The record's prompt is text with marks; line breaks around a mark belong to it. */
  isText: boolean;
}

export interface Preference {
  chosen: string;
  rejected: string;
  /** Summed log-probabilities under the reference, from precompute-ref. */
  refLogps?: { chosen: number; rejected: number };
  /** Damaged images for image-side preference. */
  rejectedImages?: string[];
}

/** One training example, before it takes a trainer's form. */
export interface Example {
  id: string;
  images: string[];
  turns: ExportTurn[];
  /** The prompt marks its image positions; else images precede its first user turn. */
  hasWrittenSlots: boolean;
  /** A pair of responses, or one response (labelled under KTO). */
  preference?: Preference;
  response?: string;
  label?: boolean;
}

/** The examples of a record: one, or one per rejected response. Throws RecordError. */
export function recordExamples(row: Row, imagePath: (path: string, field: string) => string): Example[] {
  const { record } = row;
  const images = (record.images ?? []).map((image, index) => imagePath(image, `images[${index}]`));
  const numSlots = countImageMarks(record.prompt);
  if (numSlots !== 0 && numSlots !== images.length)
    throw new RecordError(row, 'prompt', `${images.length} image slots or none written`, String(numSlots));
  const turns = promptTurns(row, images.length);
  const hasWrittenSlots = numSlots > 0;
  const { chosen, rejected, response, label } = record;
  const isPair = chosen !== undefined && rejected !== undefined && !(Array.isArray(rejected) && rejected.length === 0);
  if (!isPair) {
    const base = { id: record.id, images, turns, hasWrittenSlots };
    if (response !== undefined) return [{ ...base, response, ...(label !== undefined && { label }) }];
    const missing = chosen === undefined ? 'chosen' : 'rejected';
    throw new RecordError(row, missing, 'chosen and rejected, or response (see vpref pair)', 'nothing');
  }
  const several = Array.isArray(rejected) ? rejected : [rejected];
  return several.map((text, index) => ({
    id: several.length > 1 ? `${record.id}#${index}` : record.id,
    images,
    turns,
    hasWrittenSlots,
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

/** Turns with one image part per image. Throws RecordError for open turns. */
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

/** The turn's parts, without the line breaks that separate a mark from text. */
export function turnParts({ content, isText }: ExportTurn): ContentPart[] {
  return isText ? trimAroundImages(content) : content;
}

/** Throws RecordError unless user and assistant alternate after an optional system turn, user first and last. */
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
 * The turn as text with `<image>` per slot. Leading images have separate lines, as in LLaVA's training data.
 * Throws RecordError if a text contains one of the format's marks.
 */
export function turnText(row: Row, { turns, hasWrittenSlots }: Example, index: number, marks = IMAGE_MARKS): string {
  const mark = hasWrittenSlots ? IMAGE_MARK : `${IMAGE_MARK}\n`;
  const turn = turns[index]!;
  const parts = hasWrittenSlots ? turn.content : turnParts(turn);
  return parts
    .map((part) => (part.type === 'image' ? mark : plainText(row, part.text, `prompt[${index}]`, marks)))
    .join('');
}

/** Marks that a format reads as a slot of this kind. */
export type Marks = readonly (readonly [pattern: RegExp, kind: string])[];

/** `<image>`, and Qwen's tag around a path: import reads both in every format. */
export const IMAGE_MARKS: Marks = [
  [/<image>/, 'an image slot'],
  [/<img>[^<>\n]+<\/img>/, 'an image'],
];
/** Marks of LLaMA-Factory and ms-swift, which also read video and audio. */
export const MEDIA_MARKS: Marks = [...IMAGE_MARKS, [/<video>/, 'a video slot'], [/<audio>/, 'an audio slot']];

/** The text, for a format with marks. Throws RecordError if the text contains one. */
export function plainText(row: Row, text: string, field: string, marks = IMAGE_MARKS): string {
  for (const [pattern, kind] of marks) {
    const mark = pattern.exec(text)?.[0];
    if (mark === undefined) continue;
    const expected = `text without ${mark.trim().slice(0, 40)}, which this format takes for ${kind}`;
    throw new RecordError(row, field, expected, JSON.stringify(text.slice(0, 40)));
  }
  return text;
}
