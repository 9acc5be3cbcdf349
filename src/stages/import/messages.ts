// SPDX-License-Identifier: Apache-2.0
// Converts chat messages of other trainers to ours.
import { count } from '../../records/count.ts';
import { RecordError } from '../../records/error.ts';
import { describeValue, isObject, joinPath, type Place } from '../../records/field.ts';
import { IMAGE_MARK } from '../../records/prompt.ts';
import type { ContentPart, Message } from '../../records/record.ts';
import { imageReference } from './images.ts';
import { carries, isEmpty, isGiven, oneOfColumns } from './item-fields.ts';

/** A converted message, and the images in its parts. */
export interface ForeignMessage {
  role: Message['role'];
  content: string | ContentPart[];
  images: string[];
  /** Place of a message, and its key for the speaker, for error messages. */
  path: string;
  roleKey: 'from' | 'role';
}

const ROLES: Readonly<Record<string, Message['role']>> = {
  human: 'user',
  user: 'user',
  gpt: 'assistant',
  assistant: 'assistant',
  bot: 'assistant',
  system: 'system',
  developer: 'system',
};

/** Messages {role, content} or turns {from, value}. Throws RecordError for members that we do not read. */
export function readMessages(value: unknown, at: Place, path: string): ForeignMessage[] {
  if (!Array.isArray(value))
    throw new RecordError(at, path, 'an array of turns {from, value} or {role, content}', describeValue(value));
  const slots = { count: 0 };
  return value.map((message, index) => readMessage(message, at, `${path}[${index}]`, slots));
}

/** One message; `slots` counts the images of its conversation. */
export function readMessage(message: unknown, at: Place, path: string, slots: Slots = { count: 0 }): ForeignMessage {
  if (!isObject(message)) throw new RecordError(at, path, 'a message {role, content}', describeValue(message));
  const roleKey = oneOfColumns(message, ['from', 'role'], at, path) ?? 'from';
  const contentKey =
    oneOfColumns(message, ['value', 'content'], at, path) ?? (roleKey === 'from' ? 'value' : 'content');
  const name = message[roleKey];
  const role = typeof name === 'string' && Object.hasOwn(ROLES, name) ? ROLES[name] : undefined;
  if (role === undefined) throw new RecordError(at, `${path}.${roleKey}`, 'human, gpt or system', describeValue(name));
  for (const [key, member] of Object.entries(message))
    if (key !== roleKey && key !== contentKey) refuseMember(key, member, at, path);
  return {
    role,
    ...readContent(message[contentKey], at, `${path}.${contentKey}`, slots),
    path,
    roleKey: roleKey === 'from' ? 'from' : 'role',
  };
}

// `loss: false` and `weight: 0` would change the training target, tool calls the text.
function refuseMember(key: string, member: unknown, at: Place, path: string): void {
  const changesLearning = /^(?:loss|loss_scale|weight|train|prefix|mask)$/.test(key) && member !== null;
  const calls = /tool|function|refusal|reasoning|thinking/.test(key) && carries('tools', member) !== undefined;
  if (changesLearning || calls || carries(key, member) !== undefined)
    throw new RecordError(at, `${path}.${key}`, 'nothing but role and content in a message', describeValue(member));
}

interface Slots {
  count: number;
}

type Content = Pick<ForeignMessage, 'content' | 'images'>;

function readContent(value: unknown, at: Place, path: string, slots: Slots): Content {
  if (typeof value === 'string') return { content: value, images: [] };
  if (!Array.isArray(value))
    throw new RecordError(at, path, 'a string or an array of content parts', describeValue(value));
  const images: string[] = [];
  const content = value.map((part, index): ContentPart => {
    const place = `${path}[${index}]`;
    const read = readPart(part, images, at, place);
    const number = read.type === 'image' ? slots.count++ : undefined;
    // Index of the row's image. In another order the slots would show other images.
    const wanted = isObject(part) && read.type === 'image' && isGiven(part, 'index') ? part.index : number;
    if (wanted !== number) throw new RecordError(at, `${place}.index`, `${number}, its place`, describeValue(wanted));
    return read;
  });
  const numSlots = content.filter((part) => part.type === 'image').length;
  if (images.length > 0 && images.length < numSlots)
    throw new RecordError(at, path, 'a file in every image part, or in none', `${images.length} in ${numSlots}`);
  return { content, images };
}

const PART_KEYS = new Set(['type', 'text', 'image', 'image_url', 'path', 'url', 'index', 'detail', 'video', 'audio']);

function readPart(part: unknown, images: string[], at: Place, path: string): ContentPart {
  if (typeof part === 'string') return { type: 'text', text: part };
  if (!isObject(part)) throw new RecordError(at, path, 'a content part {type: image|text}', describeValue(part));
  // Image settings in a part (min_pixels, resized_height) would change the model's input.
  for (const [key, member] of Object.entries(part))
    if (!PART_KEYS.has(key) && member !== null)
      throw new RecordError(at, `${path}.${key}`, 'nothing but type and a text or an image', describeValue(member));
  switch (part.type) {
    case 'text':
    case 'input_text':
    case 'output_text':
      for (const key of ['image', 'image_url', 'path', 'url', 'video', 'audio']) refuseInPart(part, key, at, path);
      if (isGiven(part, 'text') && typeof part.text !== 'string')
        throw new RecordError(at, `${path}.text`, 'a string', describeValue(part.text));
      return { type: 'text', text: (part.text as string | null | undefined) ?? '' };
    case 'image':
    case 'image_url':
    case 'input_image': {
      for (const key of ['text', 'video', 'audio']) refuseInPart(part, key, at, path);
      const key = oneOfColumns(part, ['image', 'image_url', 'path', 'url'], at, path);
      if (key !== undefined) images.push(imageOf(part[key], at, `${path}.${key}`));
      else if (part.type !== 'image') throw new RecordError(at, `${path}.image_url`, 'an image', 'nothing');
      return { type: 'image' };
    }
    default:
      throw new RecordError(at, `${path}.type`, 'image, image_url or text', describeValue(part.type));
  }
}

/** Throws RecordError for a member that belongs to another type of part. Empty members pass, because tables add them. */
function refuseInPart(part: Record<string, unknown>, key: string, at: Place, path: string): void {
  if (isEmpty(part[key])) return;
  throw new RecordError(at, `${path}.${key}`, `nothing in a part of type ${part.type}`, describeValue(part[key]));
}

/** The content as text with `<image>` per image part, for formats that mark images in text. */
export function markedText({ content }: Pick<ForeignMessage, 'content'>): string {
  if (typeof content === 'string') return content;
  return content.map((part) => (part.type === 'image' ? IMAGE_MARK : part.text)).join('');
}

/** In formats without marks `<image>` is literal text: returns the messages with such texts as parts. */
export function literalMessages(messages: readonly ForeignMessage[]): Message[] {
  return messages.map(({ role, content }) => ({
    role,
    content: typeof content === 'string' && isMarked(content) ? [{ type: 'text', text: content }] : content,
  }));
}

const isMarked = (text: string) => text.includes(IMAGE_MARK) || IMAGE_TAG.test(text);

/** The text of a response. Throws RecordError if it is not only text. `<image>` in a text is a mark or literal. */
export function responseText(
  { content, path }: ForeignMessage,
  at: Place,
  marks: 'marks' | 'literal' = 'marks',
): string {
  if (typeof content === 'string') {
    if (marks === 'marks') checkResponse(content, at, path);
    return content;
  }
  return content
    .map((part) => {
      if (part.type === 'text') return part.text;
      throw new RecordError(at, joinPath(path, 'content'), 'text alone in a response', 'an image part');
    })
    .join('');
}

/** A response: a text, an assistant message, or a list of that one message. Throws RecordError. */
export function readResponse(value: unknown, at: Place, path: string, marks: 'marks' | 'literal' = 'marks'): string {
  if (typeof value === 'string') {
    if (marks === 'marks') checkResponse(value, at, path);
    return value;
  }
  const list = Array.isArray(value) ? readMessages(value, at, path) : [readMessage(value, at, path)];
  const [message, ...more] = list;
  if (message?.role === 'assistant' && more.length === 0) return responseText(message, at, marks);
  const got = list.length === 0 ? 'none' : `${count(list.length, 'message')}, first of ${message!.role}`;
  throw new RecordError(at, path, 'a text or one assistant message', got);
}

/** `<img>path</img>`, Qwen's mark. */
export const IMAGE_TAG = /<img>([^<>\n]+)<\/img>/;

/** Throws RecordError for a response with an image mark. */
export function checkResponse(text: string, at: Place, path: string): void {
  const mark = text.includes(IMAGE_MARK) ? IMAGE_MARK : IMAGE_TAG.exec(text)?.[0];
  if (mark === undefined) return;
  const place = text.indexOf(mark);
  const around = JSON.stringify(text.slice(Math.max(0, place - 16), place + 32));
  const expected = `a response without ${mark === IMAGE_MARK ? mark : '<img>path</img>'} (responses hold no images)`;
  throw new RecordError(at, path, expected, around);
}

/** Images from `images` or `image`: one or a list, in any form of imageReference. */
export function imagePaths(item: Record<string, unknown>, at: Place, path: string): string[] | undefined {
  const key = oneOfColumns(item, ['images', 'image'], at, path);
  return key === undefined ? undefined : imageList(item[key], at, joinPath(path, key));
}

/** Paths of one image or of a list; tables may hold a list as text. */
export function imageList(value: unknown, at: Place, path: string): string[] {
  const list = typeof value === 'string' ? listFromText(value, at, path) : value;
  if (!Array.isArray(list)) return [imageOf(list, at, path)];
  return list.map((image, index) => imageOf(image, at, joinPath(path, `[${index}]`)));
}

function imageOf(image: unknown, at: Place, path: string): string {
  // OpenAI's {url}, or the part's member.
  const url = isObject(image) && typeof image.url === 'string' && !isGiven(image, 'bytes') && !isGiven(image, 'path');
  return imageReference(url ? image.url : image, at, path);
}

/** `["a.png"]` or Python's `['a.png']` in a table's cell as a list; other text as it is. */
export function listFromText(text: string, at: Place, path: string): unknown {
  if (!/^\s*\[[\s\S]*\]\s*$/.test(text)) return text;
  const json = text.replace(/'((?:[^'"\\]|\\.)*)'/g, '"$1"');
  for (const candidate of [text, json])
    try {
      return JSON.parse(candidate);
    } catch {}
  throw new RecordError(at, path, 'an image, or a list of images', describeValue(text));
}
