// SPDX-License-Identifier: Apache-2.0
// Chat messages as other trainers write them, turned into ours.
import { RecordError } from '../../records/error.ts';
import {
  arrayOf,
  checkShape,
  describeValue,
  either,
  joinPath,
  nonEmptyString,
  nothing,
  object,
  oneOf,
  type Place,
  type Shape,
  string,
} from '../../records/field.ts';
import type { ContentPart, Message } from '../../records/record.ts';

const part = object(
  { type: oneOf('image', 'text') },
  { text: either(string, nothing) },
  'a content part {type: image|text}',
);
const messageShape = object(
  { role: oneOf('system', 'user', 'assistant'), content: either(string, arrayOf(part, 'an array of content parts')) },
  {},
  'a message {role, content}',
);
export const messagesShape = arrayOf(messageShape, 'an array of messages {role, content}');
type ForeignMessage = typeof messageShape extends Shape<infer T> ? T : never;

/** Messages with nothing in their parts but images and texts. */
export function toMessages(messages: readonly ForeignMessage[]): Message[] {
  return messages.map(({ role, content }) => ({
    role,
    content: typeof content === 'string' ? content : content.map(toPart),
  }));
}

function toPart({ type, text }: { type: 'image' | 'text'; text?: string | null }): ContentPart {
  return type === 'image' ? { type } : { type, text: text ?? '' };
}

/** The text of an answer; throws RecordError when it is not text alone. */
export function answerText(message: Message, at: Place, path: string): string {
  const { content } = message;
  if (typeof content === 'string') return content;
  if (content?.every((part) => part.type === 'text'))
    return content.map((part) => (part.type === 'text' ? part.text : '')).join('');
  throw new RecordError(at, joinPath(path, 'content'), 'text alone in an answer', describeValue(content));
}

/** Paths from `images` or `image`: strings, or objects as the datasets library writes them ({path} or {bytes}). */
export function imagePaths(item: Record<string, unknown>, at: Place, path: string): string[] | undefined {
  const key = item.images === undefined || item.images === null ? 'image' : 'images';
  const value = item[key];
  if (value === undefined || value === null) return undefined;
  const images = Array.isArray(value) ? value : [value];
  return images.map((image, index) => {
    const at_ = joinPath(joinPath(path, key), Array.isArray(value) ? `[${index}]` : '');
    if (typeof image === 'string') return checkShape(nonEmptyString, image, at, at_);
    const { path: file, bytes } = (image ?? {}) as { path?: unknown; bytes?: unknown };
    if (typeof bytes === 'string') return `data:${mediaType(bytes)};base64,${bytes}`;
    if (typeof file === 'string' && file !== '') return file;
    throw new RecordError(at, at_, 'a path, {path} or {bytes: base64}', describeValue(image));
  });
}

function mediaType(base64: string): string {
  if (base64.startsWith('/9j/')) return 'image/jpeg';
  if (base64.startsWith('iVBORw0KGgo')) return 'image/png';
  return base64.startsWith('UklGR') ? 'image/webp' : 'application/octet-stream';
}
