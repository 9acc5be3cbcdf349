// SPDX-License-Identifier: Apache-2.0
// `reply: choice`: the one option that a response selects, or Z for none.
import { isArticle } from '../../../text/article.ts';
import { type ReadResult, type ReplyContext, type ReplyReader, unread } from './reading.ts';

export const choiceReply: ReplyReader = { read: readChoice };

/** Means: no option. */
const NONE = 'Z';

/** Where a letter is a choice: alone, first and set off ("B. a hen"), or called one ("the answer is B"). */
const ALONE = /^[\s([{*"'`]*([A-Z])[\s)\]}*"'`.:,;!]*$/;
const LEADING = /^[\s([{*"'`]*([A-Z])[)\]}*"'`]*(?:[.:)\]\n,]|\s*[-\u2013\u2014]\s)/;
const CALLED =
  /\b(?:answer|letter|option|choice)\b(?:\s+(?:letter|option|choice))?(?:\s+(?:is|means))?\s*[:=]?\s*(?:option\s+)?[([{*"'`]*([A-Z])(?![\p{L}\p{N}'\u2019])/giu;
const NEGATION = /\b(?:not|no|never|neither|nor|isn't|isn\u2019t|cannot|can't)\b[^.\n]*$/i;

function readChoice(text: string, context: ReplyContext): ReadResult {
  const known = [...context.letters, NONE];
  const isKnown = (letter: string | undefined) => letter !== undefined && known.includes(letter);
  const alone = ALONE.exec(text)?.[1] ?? LEADING.exec(text)?.[1];
  const called = [...text.matchAll(CALLED)]
    .filter((match) => !NEGATION.test(text.slice(0, match.index)) && !isArticle(text, match))
    .map((match) => match[1]!);
  const meant = new Set([alone, ...called].filter(isKnown));
  // If another option is mentioned too, the choice is ambiguous.
  const spoken = new Set([...optionsSpokenOf(text, known), ...meant]);
  if (meant.size !== 1 || spoken.size !== 1) return unread(`one letter of ${known.join(', ')}`, text);
  return { reading: { verdicts: [{ choice: [...meant][0]! }] } };
}

/** Letters that stand alone, without the article "A" and the pronoun "I". */
function optionsSpokenOf(text: string, known: string[]): string[] {
  const words = [...text.matchAll(/(?<![\p{L}\p{N}'\u2019])([A-Z])(?![\p{L}\p{N}'\u2019])/gu)];
  return words
    .filter((match) => !isArticle(text, match))
    .map((match) => match[1]!)
    .filter((letter) => known.includes(letter));
}

/** The option's letter if the response is only that ("B", "(B)", "B."): no judge is needed. */
export function plainLetter(answer: string, letters: string[]): string | undefined {
  const match = /^\s*\(?([A-Z])[).:]?\s*$/.exec(answer);
  return match && letters.includes(match[1]!) ? match[1] : undefined;
}
