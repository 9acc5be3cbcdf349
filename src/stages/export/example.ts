// SPDX-License-Identifier: Apache-2.0
// What every export format writes, taken out of a record: a conversation with image slots, and what to learn from it.
import { RecordError } from '../../records/error.ts';
import { countImageMarks, IMAGE_MARK, placeImages } from '../../records/prompt.ts';
import type { ContentPart, VprefRecord } from '../../records/record.ts';
import type { Row } from '../stage.ts';

export interface Turn {
  role: 'system' | 'user' | 'assistant';
  content: ContentPart[];
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
  turns: Turn[];
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
  if (chosen === undefined || rejected === undefined || rejected.length === 0) {
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
function promptTurns(row: Row, numImages: number): Turn[] {
  return placeImages(row.record.prompt, numImages).map(({ role, content }, index): Turn => {
    if (content === null || typeof content === 'string')
      throw new RecordError(row, `prompt[${index}].content`, 'a turn with text', 'null: sample has not filled it');
    return { role, content };
  });
}

/**
 * The turn as text with `<image>` for each slot; images that lead stand on lines of their own, as LLaVA was trained.
 * Throws RecordError if a text has such a mark.
 */
export function turnText(row: Row, { turns, hasWrittenSlots }: Example, index: number): string {
  const mark = hasWrittenSlots ? IMAGE_MARK : `${IMAGE_MARK}\n`;
  const parts = turns[index]!.content;
  return parts.map((part) => (part.type === 'image' ? mark : plainText(row, part.text, `prompt[${index}]`))).join('');
}

/** The text, which a format that counts `<image>` marks can hold. Throws RecordError. */
export function plainText(row: Row, text: string, field: string): string {
  if (!text.includes(IMAGE_MARK)) return text;
  throw new RecordError(
    row,
    field,
    'text without <image>, which this format takes for an image slot',
    JSON.stringify(text.slice(0, 40)),
  );
}
