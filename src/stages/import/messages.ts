// SPDX-License-Identifier: Apache-2.0
// Chat messages as other trainers write them, turned into ours.
import { RecordError } from '../../records/error.ts';
import {
  arrayOf,
  describeValue,
  either,
  joinPath,
  nothing,
  object,
  oneOf,
  type Place,
  type Shape,
  string,
} from '../../records/field.ts';
import type { ContentPart, Message } from '../../records/record.ts';
import { imageReference } from './images.ts';

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

/** Images from `images` or `image`: one or a list, in any form that imageReference takes. */
export function imagePaths(item: Record<string, unknown>, at: Place, path: string): string[] | undefined {
  const key = item.images === undefined || item.images === null ? 'image' : 'images';
  const value = item[key];
  if (value === undefined || value === null) return undefined;
  const field = joinPath(path, key);
  if (!Array.isArray(value)) return [imageReference(value, at, field)];
  return value.map((image, index) => imageReference(image, at, joinPath(field, `[${index}]`)));
}
