// SPDX-License-Identifier: Apache-2.0
// `reply: choice`: the one option that an answer means, or Z when it means none.
import { type ReadResult, type ReplyContext, type ReplyReader, unread } from './reading.ts';

export const choiceReply: ReplyReader = { read: readChoice };

/** No option. */
const NONE = 'Z';

function readChoice(text: string, context: ReplyContext): ReadResult {
  const words = text.split(/[^A-Za-z0-9]+/).filter((word) => word !== '');
  const letters = new Set(words.filter((word) => word === NONE || context.letters.includes(word)));
  if (letters.size !== 1) return unread(`one letter of ${[...context.letters, NONE].join(', ')}`, text);
  return { reading: { verdicts: [{ choice: [...letters][0]! }] } };
}

/** The option's letter when the answer is nothing but it ("B", "(B)", "B."): no judge is needed. */
export function plainLetter(answer: string, letters: string[]): string | undefined {
  const match = /^\s*\(?([A-Z])[).:]?\s*$/.exec(answer);
  return match && letters.includes(match[1]!) ? match[1] : undefined;
}
