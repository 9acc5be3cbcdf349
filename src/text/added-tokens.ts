// SPDX-License-Identifier: Apache-2.0
// Added tokens in a text, as the Rust library finds them: leftmost, longest, and a single_word one only between non-word characters.

/** An entry of tokenizer.json's added_tokens. */
export interface AddedToken {
  id: number;
  content: string;
  special: boolean;
  single_word?: boolean;
  normalized?: boolean;
}

const WORD = '\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}\\u200c\\u200d';
const BEGINS_WITH_WORD = new RegExp(`^[${WORD}]`, 'u');
const ENDS_WITH_WORD = new RegExp(`[${WORD}]$`, 'u');

/** What the library asks of a splitter: the text in pieces, each added token a piece of its own. */
export function addedTokenSplitter(tokens: readonly AddedToken[]): { split(text: string): string[] } {
  const longestFirst = tokens
    .filter(({ content }) => content !== '')
    .sort((a, b) => b.content.length - a.content.length);
  const single = new Set(tokens.filter((token) => token.single_word).map(({ content }) => content));
  if (longestFirst.length === 0) return { split: (text) => (text === '' ? [] : [text]) };
  const literal = (text: string) => text.replace(/[.*+?^${}()|[\]\\/-]/g, '\\$&');
  const pattern = new RegExp(longestFirst.map(({ content }) => literal(content)).join('|'), 'g');
  return {
    split(text) {
      const pieces: string[] = [];
      let begin = 0;
      for (const { 0: token, index } of text.matchAll(pattern)) {
        const end = index + token.length;
        if (
          single.has(token) &&
          (ENDS_WITH_WORD.test(text.slice(Math.max(0, index - 2), index)) || BEGINS_WITH_WORD.test(text.slice(end)))
        )
          continue;
        pieces.push(text.slice(begin, index), token);
        begin = end;
      }
      pieces.push(text.slice(begin));
      return pieces.filter((piece) => piece !== '');
    },
  };
}
