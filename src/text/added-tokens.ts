// SPDX-License-Identifier: Apache-2.0
// Finds added tokens in a text, as the Rust library does: leftmost, longest, and a single_word token only between non-word characters.

/** An entry of tokenizer.json's added_tokens. */
export interface AddedToken {
  id: number;
  content: string;
  special: boolean;
  single_word?: boolean;
  normalized?: boolean;
  lstrip?: boolean;
  rstrip?: boolean;
}

const WORD = '\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}\\u200c\\u200d';
const BEGINS_WITH_WORD = new RegExp(`^[${WORD}]`, 'u');
const ENDS_WITH_WORD = new RegExp(`[${WORD}]$`, 'u');

/** The library's splitter interface: returns the text in pieces, with each added token as a separate piece. */
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

/** The parts of tokenizer.json that added tokens depend on. */
export interface TokenizerDefinition {
  added_tokens: AddedToken[];
  model: { vocab: Record<string, number> };
}

/** Special tokens by name, in transformers' order. */
const NAMED = ['bos_token', 'eos_token', 'unk_token', 'sep_token', 'pad_token', 'cls_token', 'mask_token'];

/**
 * Adds tokens that the config files name and tokenizer.json lacks, as transformers does: first added_tokens_decoder in order of its ids, then special
 * tokens; each under its id in the vocabulary, or the next free one.
 */
export function addConfiguredTokens(
  definition: TokenizerDefinition,
  config: Readonly<Record<string, unknown>>,
  map: Readonly<Record<string, unknown>>,
): void {
  const { added_tokens: added, model } = definition;
  const known = new Set(added.map(({ content }) => content));
  const more = (key: string) => Object.values((config[key] ?? map[key] ?? {}) as object);
  const decoder = Object.entries((config.added_tokens_decoder ?? {}) as object).sort(
    ([a], [b]) => Number(a) - Number(b),
  );
  const special = [
    ...NAMED.map((name) => config[name] ?? map[name]),
    ...more('additional_special_tokens'),
    ...more('extra_special_tokens'),
  ].map((token) =>
    typeof token === 'string' ? { content: token, special: true } : { ...(token as object), special: true },
  );
  let next = Object.keys(model.vocab).length;
  for (const { id } of added) next = Math.max(next, id + 1);
  const all = [...decoder.map(([, value]) => value as unknown), ...special];
  for (const token of all as (Partial<AddedToken> | null)[]) {
    if (token === null) continue;
    const { content } = token;
    if (typeof content !== 'string' || content === '' || known.has(content)) continue;
    known.add(content);
    const id = Object.hasOwn(model.vocab, content) ? model.vocab[content]! : next++;
    added.push({ normalized: false, ...token, special: token.special === true, content, id });
  }
}
