// SPDX-License-Identifier: Apache-2.0
// `ref.inputs`: a digest of the inputs of reference sums, in named sections, so a later stage can name the section that changed.
import { createHash } from 'node:crypto';
import type { Row } from '../flow/stage.ts';
import type { ModelContext, RecordPlan } from '../model/context.ts';
import { responseTokenIds, writtenTurns } from '../model/prompt.ts';
import { PixelError } from '../pixels/pixel-error.ts';
import { RecordError } from '../records/error.ts';
import { promptIds } from '../text/prompt-ids.ts';

/** Hex digits kept of a section's SHA-256. */
const DIGITS = 32;

/**
 * `SECTION:DIGEST ...` of a record: token ids of its prompt and responses, image processing, bytes of its images. Throws RecordError
 * for an unreadable image.
 */
export async function referenceInputs(row: Row, plan: RecordPlan, context: ModelContext): Promise<string> {
  const { record } = row;
  const { images = [], rejected_images: rejectedImages = [], chosen, rejected, response } = record;
  const turns = writtenTurns(row, images.length, context);
  const prompt = promptIds(turns, images.length, plan.template, context.tokenizer, context.vision?.tokens);
  // Length limits matter only for computing.
  const unbounded = { prompt, promptIds: new Int32Array(), numPositions: 0 };
  const digestOf = (text: string) => digest(responseTokenIds(unbounded, { text }, context));
  const bytes = (sources: readonly string[]) => Promise.all(sources.map((source) => imageDigest(row, source, context)));
  const hasImages = images.length + rejectedImages.length > 0;
  const sections: [string, string | undefined][] = [
    ['prompt', digest(Int32Array.from(prompt.ids))],
    ['chosen', chosen === undefined ? undefined : digestOf(chosen)],
    ['rejected', rejected === undefined ? undefined : [rejected].flat().map(digestOf).join(',')],
    ['response', response === undefined ? undefined : digestOf(response)],
    ['pixels', hasImages ? digest(JSON.stringify(pixelSettings(plan, context))) : undefined],
    ['images', images.length > 0 ? digest(JSON.stringify(await bytes(images))) : undefined],
    [
      'rejected_images',
      rejectedImages.length > 0
        ? digest(JSON.stringify(await Promise.all(rejectedImages.map((set) => bytes([set].flat())))))
        : undefined,
    ],
  ];
  return sections.flatMap(([name, value]) => (value === undefined ? [] : [`${name}:${value}`])).join(' ');
}

// The image mode and the processor's settings.
function pixelSettings({ images }: RecordPlan, { vision }: ModelContext): unknown[] {
  if (images === undefined || vision === undefined) return [null];
  const { mode, ...settings } = images;
  return [mode, vision.family.identity?.(images) ?? settings];
}

async function imageDigest(row: Row, source: string, context: ModelContext): Promise<string> {
  try {
    return await context.imageDigest(source);
  } catch (cause) {
    if (!(cause instanceof PixelError)) throw cause;
    throw new RecordError(row, 'images', cause.expected, `${cause.subject}: ${cause.got}`);
  }
}

function digest(value: Int32Array | string): string {
  const bytes = typeof value === 'string' ? value : Buffer.from(value.buffer, value.byteOffset, value.byteLength);
  return createHash('sha256').update(bytes).digest('hex').slice(0, DIGITS);
}

const CHANGED: Record<string, string> = {
  prompt: 'others: the text, the chat template or the tokenizer has changed',
  pixels: "others: the processor's settings or the image mode have changed",
  images: 'other bytes',
  rejected_images: 'other bytes',
};

/**
 * Throws RecordError naming the inputs that differ from those of the stored sums. Skips sections that the record no longer has.
 * `advice`: how to fix it.
 */
export function checkInputs(row: Row, stored: string, now: string, advice: string): void {
  const before = sectionsOf(stored);
  for (const [name, value] of sectionsOf(now)) {
    if (before.get(name) === value) continue;
    const what = name === 'pixels' || name === 'images' || name === 'rejected_images' ? 'those' : 'the token ids';
    const got = before.has(name)
      ? (CHANGED[name] ?? 'others: the text, or how it is tokenised, has changed')
      : 'new ones';
    throw new RecordError(row, name, `${what} that ref_* were computed for (ref.inputs; ${advice})`, got);
  }
}

function sectionsOf(inputs: string): Map<string, string> {
  return new Map(inputs.split(' ').map((section) => section.split(':', 2) as [string, string]));
}
