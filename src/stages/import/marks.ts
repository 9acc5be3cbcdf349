// SPDX-License-Identifier: Apache-2.0
// Marks in texts against the item's images: one per image, in questions only; Qwen's <img>path</img> as images;
// no mark of a video or of audio.
import { count } from '../../records/count.ts';
import { RecordError } from '../../records/error.ts';
import { joinPath, type Place } from '../../records/field.ts';
import { countImageMarks, IMAGE_MARK, promptMessages } from '../../records/prompt.ts';
import type { Message, VprefRecord } from '../../records/record.ts';
import type { Draft, ImportFormat } from './format.ts';
import { checkResponse, IMAGE_TAG } from './messages.ts';

const TAGS = new RegExp(IMAGE_TAG.source, 'g');
const MEDIA_MARK = /<(?:video|audio)>/;
// Inside a text these may be HTML; a mark is before or after the question.
const MEDIA_MARK_LINE = /^<(?:video|audio)>\s*\n|\n<(?:video|audio)>\s*$/;

const NO_MEDIA = 'text without <video> and <audio> (images only)';

/** The first image tagged in a text. */
export function imageTag(text: string): string | undefined {
  return IMAGE_TAG.exec(text)?.[1]?.trim();
}

/** The draft with `<img>path</img>` in its questions read as images. */
export function readImageTags(draft: Draft, at: Place, path: string): Draft {
  const found: string[] = [];
  const take = (text: string) =>
    text.replace(TAGS, (_tag, image: string) => {
      found.push(image.trim());
      return IMAGE_MARK;
    });
  const turns = draft.turns?.map((turn) => ({ ...turn, question: take(turn.question) }));
  const prompt =
    typeof draft.prompt === 'string' ? take(draft.prompt) : draft.prompt?.map((message) => takeIn(message, take));
  if (found.length === 0) return draft;
  if ((draft.images?.length ?? 0) > 0)
    throw new RecordError(at, joinPath(path, 'images'), 'images here or as <img>path</img>', 'both');
  return { ...draft, images: found, ...(turns && { turns }), ...(prompt !== undefined && { prompt }) };
}

function takeIn({ role, content }: Message, take: (text: string) => string): Message {
  return { role, content: typeof content === 'string' && role === 'user' ? take(content) : content };
}

/** Texts of responses: those of the dialogue's turns, and training targets. */
function responsesOf({ turns, prompt, chosen, rejected, response, reference }: Draft): string[] {
  const said = typeof prompt === 'string' ? [] : (prompt ?? []).filter(({ role }) => role === 'assistant');
  return [
    ...(turns ?? []).map(({ response }) => response),
    ...said.map(({ content }) => content),
    ...[chosen, rejected, response, reference].flat(),
  ].filter((text) => typeof text === 'string');
}

/** Throws RecordError for a video or audio mark of the format, and for an image in a response. */
export function checkTexts(draft: Draft, format: ImportFormat, at: Place, path: string): void {
  const hasImages = (draft.images?.length ?? 0) > 0;
  for (const [index, { question, response = '' }] of (draft.turns ?? []).entries()) {
    const place = joinPath(path, `turn ${index + 1}`);
    refuse(question, format.hasVideoMarks ? MEDIA_MARK : MEDIA_MARK_LINE, NO_MEDIA, at, place);
    if (!format.marksMayBeText || hasImages || IMAGE_TAG.test(response)) checkResponse(response, at, place);
  }
  for (const [index, { role, content }] of promptMessages(draft.prompt ?? []).entries())
    if (role === 'assistant' && typeof content === 'string')
      checkResponse(content, at, joinPath(path, `prompt[${index}]`));
  if (!format.hasVideoMarks) return;
  for (const text of [...responsesOf(draft), draft.system ?? '']) refuse(text, MEDIA_MARK, NO_MEDIA, at, path);
}

function refuse(text: string, pattern: RegExp, expected: string, at: Place, path: string): void {
  const place = text.search(pattern);
  if (place === -1) return;
  const around = text.slice(Math.max(0, place - 16), place + 32);
  throw new RecordError(at, path || 'item', expected, JSON.stringify(around));
}

/**
 * The prompt with as many image slots as there are images, or none written. In formats where `<image>` may be text, it
 * is kept as text in items without images, and `onText` is called. Throws RecordError with both numbers.
 */
export function checkSlots(
  prompt: VprefRecord['prompt'],
  images: readonly string[] | undefined,
  { format, at, path, onText }: { format: ImportFormat; at: Place; path: string; onText: () => void },
): VprefRecord['prompt'] {
  const messages = promptMessages(prompt);
  const numImages = images?.length ?? 0;
  const numSlots = countImageMarks(prompt);
  const field = joinPath(path, 'prompt');
  if (numImages === 0 && numSlots > 0 && format.marksMayBeText) {
    onText();
    return messages.map(asText);
  }
  const misplaced = messages.findIndex(
    ({ role, content }) => role !== 'user' && countImageMarks([{ role, content }]) > 0,
  );
  if (misplaced !== -1)
    throw new RecordError(
      at,
      `${field}[${misplaced}]`,
      'images in user turns only',
      `one in a turn of ${messages[misplaced]!.role}`,
    );
  if (numImages > 0 && !messages.some(({ role }) => role === 'user'))
    throw new RecordError(at, field, `a user turn for ${count(numImages, 'image')}`, 'none');
  if (numImages === 0 && numSlots > 0)
    throw new RecordError(
      at,
      joinPath(path, 'images'),
      `${count(numSlots, 'image')} for ${count(numSlots, `${IMAGE_MARK} mark`)}`,
      'none',
    );
  if (numSlots === 0 || numSlots === numImages) return prompt;
  throw new RecordError(at, field, `${count(numImages, `${IMAGE_MARK} slot`)} or none`, String(numSlots));
}

function asText({ role, content }: Message): Message {
  if (typeof content !== 'string' || !content.includes(IMAGE_MARK)) return { role, content };
  return { role, content: [{ type: 'text', text: content }] };
}
