// SPDX-License-Identifier: Apache-2.0
// `reply: names`: a JSON list of names, alone or as the reply's last line. An empty list is valid.
import { type ReadResult, type ReplyReader, unread } from './reading.ts';

export const namesReply: ReplyReader = { read: readNames };

function readNames(text: string): ReadResult {
  const bare = text.trim().replace(/^```(?:json)?\s*|\s*```$/g, '');
  const names = listOf(bare) ?? listOf(bare.split('\n').at(-1)!.trim());
  if (names === undefined) return unread('a JSON list of names', text);
  return { reading: { verdicts: [{ names }] } };
}

function listOf(text: string): string[] | undefined {
  try {
    const value = JSON.parse(text);
    return Array.isArray(value) && value.every((name) => typeof name === 'string') ? value : undefined;
  } catch {
    return undefined;
  }
}
