// SPDX-License-Identifier: Apache-2.0
// Prompts as lists of messages with explicit image slots.
import type { ContentPart, Message, VprefRecord } from './record.ts';

/** The mark of an image slot inside a string prompt. */
export const IMAGE_MARK = '<image>';

/** The prompt as messages, strings kept as written. A string prompt is one user turn. */
export function promptMessages(prompt: VprefRecord['prompt']): Message[] {
  return typeof prompt === 'string' ? [{ role: 'user', content: prompt }] : prompt;
}

/** Number of image slots in the prompt. */
export function countImageMarks(prompt: VprefRecord['prompt']): number {
  let count = 0;
  for (const { content } of promptMessages(prompt)) {
    if (typeof content === 'string') count += countMarks(content);
    else for (const part of content ?? []) count += part.type === 'image' ? 1 : 0;
  }
  return count;
}

function countMarks(text: string): number {
  let count = 0;
  for (let at = text.indexOf(IMAGE_MARK); at >= 0; at = text.indexOf(IMAGE_MARK, at + IMAGE_MARK.length)) count += 1;
  return count;
}

/**
 * Messages whose contents are part lists with one image part per image: `<image>` in a string marks a slot;
 * if the prompt has no slot, the images come first in the first user turn.
 */
export function placeImages(prompt: VprefRecord['prompt'], numImages: number): Message[] {
  const written = countImageMarks(prompt);
  let leading = written === 0 ? numImages : 0;
  return promptMessages(prompt).map((message) => {
    if (message.content === null) return message;
    const parts = typeof message.content === 'string' ? splitMarks(message.content) : [...message.content];
    if (leading > 0 && message.role === 'user') {
      parts.unshift(...Array.from({ length: leading }, (): ContentPart => ({ type: 'image' })));
      leading = 0;
    }
    return { role: message.role, content: parts };
  });
}

function splitMarks(text: string): ContentPart[] {
  if (!text.includes(IMAGE_MARK)) return text === '' ? [] : [{ type: 'text', text }];
  const parts: ContentPart[] = [];
  for (const [index, piece] of text.split(IMAGE_MARK).entries()) {
    if (index > 0) parts.push({ type: 'image' });
    if (piece !== '') parts.push({ type: 'text', text: piece });
  }
  return parts;
}

/** A text's parts in the templates' form: `<image>\nWhat is this?` means the image, then the question. */
export function trimAroundImages(parts: readonly ContentPart[]): ContentPart[] {
  const trimmed = parts.map((part, index): ContentPart => {
    if (part.type === 'image') return part;
    let { text } = part;
    if (parts[index - 1]?.type === 'image') text = text.replace(/^[ \t]*\n+/, '');
    if (parts[index + 1]?.type === 'image') text = text.replace(/\n+[ \t]*$/, '');
    return { type: 'text', text };
  });
  return trimmed.filter((part) => part.type === 'image' || part.text !== '');
}
