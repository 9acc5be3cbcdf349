// SPDX-License-Identifier: Apache-2.0
// A prompt split at its open assistant turns, and the prompt as text.
import type { Message } from './record.ts';

/**
 * The turns before each generated one: [turns up to the first open assistant turn], [turns from there to the
 * second], ... A prompt that ends with a user turn is open at its end.
 */
export function generatedSpans<T>(turns: T[], isOpen: (turn: T) => boolean): T[][] {
  const spans: T[][] = [[]];
  for (const turn of turns) {
    if (isOpen(turn)) spans.push([]);
    else spans.at(-1)!.push(turn);
  }
  if (spans.at(-1)!.length === 0) spans.pop();
  return spans;
}

/** One turn as text. */
export interface SpokenTurn {
  role: Message['role'];
  content: string;
}

/** The mark of image `number` (from 1) in a text. */
export function imageNumber(number: number): string {
  return `(image ${number})`;
}

/**
 * Messages with image slots as text: each slot becomes its number. If all slots are at the start of the first user turn
 * and in order, they are omitted, because images come first anyway.
 */
export function spokenTurns(messages: Message[]): { turns: (SpokenTurn | null)[]; hasMarks: boolean } {
  const hasMarks = !imagesComeFirst(messages);
  let number = 0;
  const turns = messages.map(({ role, content }) => {
    if (content === null) return null;
    const parts = typeof content === 'string' ? [{ type: 'text' as const, text: content }] : content;
    const text = parts.map((part) => {
      if (part.type === 'text') return part.text;
      number += 1;
      return hasMarks ? imageNumber(number) : '';
    });
    return { role, content: text.join('').trim() };
  });
  return { turns, hasMarks };
}

function imagesComeFirst(messages: Message[]): boolean {
  const firstUser = messages.find((message) => message.role === 'user');
  return messages.every((message) => {
    if (typeof message.content === 'string' || message.content === null) return true;
    const parts = message.content;
    const last = parts.findLastIndex((part) => part.type === 'image');
    return last === -1 || (message === firstUser && parts.slice(0, last).every((part) => part.type === 'image'));
  });
}

const SPEAKERS: Record<Message['role'], string> = { system: 'System', user: 'User', assistant: 'Assistant' };

/** A single user turn unchanged; a dialogue with the speaker before each turn. */
export function transcript(turns: SpokenTurn[]): string {
  const [only] = turns;
  if (turns.length === 1 && only!.role === 'user') return only!.content;
  return turns.map(({ role, content }) => `${SPEAKERS[role]}: ${content}`).join('\n\n');
}
