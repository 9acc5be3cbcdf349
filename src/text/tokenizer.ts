// SPDX-License-Identifier: Apache-2.0
// A checkpoint's tokenizer: tokenizer.json, with the special tokens of its config files.
import { access } from 'node:fs/promises';
import { join } from 'node:path';
import { Script } from 'node:vm';
import { RunError } from '../records/error.ts';
import { type AddedToken, addConfiguredTokens, addedTokenSplitter, type TokenizerDefinition } from './added-tokens.ts';
import { readJsonObject } from './json-file.ts';
import { ownDecoder, tokenBytes } from './token-bytes.ts';

/** The tokenizer interface of the model commands. */
export interface ModelTokenizer {
  /** Ids that the tokenizer puts before a text; may be empty. */
  readonly bosIds: readonly number[];
  readonly bosToken: string | undefined;
  readonly eosToken: string | undefined;
  readonly eosId: number | undefined;
  readonly padId: number | undefined;
  /** Number of ids, added tokens included: the highest id + 1. */
  readonly size: number;
  /** Variables for chat templates: bos_token, eos_token, ... */
  readonly specialTokens: Readonly<Record<string, string>>;
  /** tokenizer_config.json, or {}. */
  readonly config: Readonly<Record<string, unknown>>;
  /** Ids of a text. Special tokens in the text are recognised; none is added. */
  encode(text: string): number[];
  /** Text of ids without special tokens; unknown ids give no text. */
  decode(ids: readonly number[]): string;
  /** Id of a token, exactly as written in the vocabulary. */
  tokenId(token: string): number | undefined;
  /** The token of an id. */
  tokenText(id: number): string | undefined;
  isSpecial(id: number): boolean;
  /** The first added token in a text, special or not, or token of one of `ids`. */
  findAdded(text: string, ids?: readonly number[]): FoundToken | undefined;
  /** The first special token in a text. */
  findSpecial(text: string): FoundToken | undefined;
  /** The bytes each id adds to a text, [size]; special tokens add none. Used to match stop strings. */
  tokenBytes(): Uint8Array[];
}

/** A token's position in a text. */
export interface FoundToken {
  token: string;
  id: number;
  index: number;
}

const SPECIAL_NAMES = ['bos_token', 'eos_token', 'unk_token', 'pad_token', 'sep_token', 'cls_token', 'image_token'];

/**
 * Loads DIR/tokenizer.json with DIR/tokenizer_config.json and DIR/special_tokens_map.json.
 * Throws RunError{"tokenizer"} if a file is missing, is not JSON, or describes an unsupported tokenizer.
 */
export async function loadTokenizer(dir: string): Promise<ModelTokenizer> {
  const file = join(dir, 'tokenizer.json');
  const definition = await readJsonObject(file, 'tokenizer');
  if (definition === undefined) {
    const slow = (await exists(join(dir, 'tokenizer.model')))
      ? '; tokenizer.model alone is not read: convert it once with transformers'
      : '';
    throw new RunError('tokenizer', `${file}: expected a Hugging Face tokenizer.json, got no file${slow}`);
  }
  const config = (await readJsonObject(join(dir, 'tokenizer_config.json'), 'tokenizer')) ?? {};
  const map = (await readJsonObject(join(dir, 'special_tokens_map.json'), 'tokenizer')) ?? {};
  checkDefinition(file, definition);
  addConfiguredTokens(definition as unknown as TokenizerDefinition, config, map);
  const { Tokenizer } = await import('@huggingface/tokenizers');
  let library: InstanceType<typeof Tokenizer>;
  try {
    library = new Tokenizer(definition, {
      ...config,
      remove_space: undefined,
      do_lowercase_and_remove_accent: undefined,
    });
  } catch (cause) {
    throw new RunError('tokenizer', `${file}: ${(cause as Error).message}`, { cause });
  }
  const added = definition.added_tokens as AddedToken[];
  honourSingleWord(library, added);
  const special = new Set(added.filter((token) => token.special).map((token) => token.id));
  const specialTokens: Record<string, string> = {};
  for (const name of SPECIAL_NAMES) {
    const token = tokenText(config[name]) ?? tokenText(map[name]);
    if (token !== undefined) specialTokens[name] = token;
  }
  // Named tokens: image_token and others.
  for (const [name, value] of Object.entries((config.extra_special_tokens as object | null | undefined) ?? {})) {
    const token = tokenText(value);
    if (token !== undefined && !/^\d+$/.test(name)) specialTokens[name] ??= token;
  }
  const vocabulary = library.get_vocab(true);
  let size = 0;
  for (const id of vocabulary.values()) if (id >= size) size = id + 1;
  const table = tokenBytes(definition, added, special, size, (id) => library.id_to_token(id));
  const decode =
    ownDecoder(definition.decoder, table, (id) => library.id_to_token(id)!) ?? libraryDecoder(library, config);
  const tokenId = (token: string) => library.token_to_id(token);
  const hasPattern = JSON.stringify([definition.normalizer, definition.pre_tokenizer]).includes('"Regex"');
  const idsOf = (text: string) => library.encode(text, { add_special_tokens: false }).ids;
  const encode = (text: string) => {
    if (text === '') return [];
    return hasPattern ? withinTime(() => idsOf(text), MAX_ENCODE_MS, file) : idsOf(text);
  };
  const specialTexts = added.filter((token) => token.special).map(({ content }) => content);
  const eosToken = specialTokens.eos_token;
  const bosToken = specialTokens.bos_token;
  const padToken = specialTokens.pad_token;
  return {
    bosIds: bosIds(library, config, bosToken),
    bosToken,
    eosToken,
    eosId: eosToken === undefined ? undefined : tokenId(eosToken),
    padId: padToken === undefined ? undefined : tokenId(padToken),
    size,
    specialTokens,
    config,
    encode,
    decode: (ids) => decode(ids.filter((id) => !special.has(id) && library.id_to_token(id) !== undefined)),
    tokenId,
    tokenText: (id) => library.id_to_token(id),
    isSpecial: (id) => special.has(id),
    findAdded: (text, ids = []) => {
      const tokens = [...added.map(({ content }) => content), ...ids.flatMap((id) => library.id_to_token(id) ?? [])];
      return firstToken(text, tokens, tokenId);
    },
    findSpecial: (text) => firstToken(text, specialTexts, tokenId),
    tokenBytes: () => table,
  };
}

// The library ignores the characters beside added tokens.
function honourSingleWord(library: object, added: AddedToken[]): void {
  if (!added.some((token) => token.single_word)) return;
  const own = library as {
    splitter_unnormalized: unknown;
    splitter_normalized: unknown;
    normalizer: ((text: string) => string) | null;
  };
  const isNormalized = (token: AddedToken) => (token.normalized ?? !token.special) && own.normalizer !== null;
  own.splitter_unnormalized = addedTokenSplitter(added.filter((token) => !isNormalized(token)));
  const normalized = added.filter(isNormalized).map((token) => ({ ...token, content: own.normalizer!(token.content) }));
  own.splitter_normalized = addedTokenSplitter(normalized);
}

// The leftmost match, then the longest.
function firstToken(
  text: string,
  tokens: readonly string[],
  tokenId: (token: string) => number | undefined,
): FoundToken | undefined {
  let best: FoundToken | undefined;
  for (const token of tokens) {
    const index = token === '' ? -1 : text.indexOf(token);
    const id = tokenId(token);
    if (index === -1 || id === undefined) continue;
    if (best === undefined || index < best.index || (index === best.index && token.length > best.token.length))
      best = { token, id, index };
  }
  return best;
}

// Ids that the tokenizer's post-processor puts before a text; without one, tokenizer_config's add_bos_token decides.
function bosIds(
  library: {
    encode(text: string, options: { add_special_tokens: boolean }): { ids: number[] };
    token_to_id(token: string): number | undefined;
  },
  config: Record<string, unknown>,
  bosToken: string | undefined,
): number[] {
  const bare = library.encode('a', { add_special_tokens: false }).ids;
  const full = library.encode('a', { add_special_tokens: true }).ids;
  const prefix = full.slice(0, full.indexOf(bare[0]!));
  if (prefix.length > 0) return prefix;
  const id = bosToken === undefined ? undefined : library.token_to_id(bosToken);
  return config.add_bos_token === true && id !== undefined ? [id] : [];
}

function checkDefinition(file: string, definition: Record<string, unknown>): void {
  const fail = (field: string, expected: string): never => {
    throw new RunError(
      'tokenizer',
      `${file}: ${field}: expected ${expected}, got ${JSON.stringify(definition[field])?.slice(0, 60)}`,
    );
  };
  const added = definition.added_tokens ?? [];
  if (!Array.isArray(added)) fail('added_tokens', 'a list');
  for (const token of added as Partial<AddedToken>[]) {
    if (!Number.isInteger(token?.id) || token.id! < 0 || token.id! > MAX_ID || typeof token.content !== 'string') {
      fail('added_tokens', 'a list of {id, content}');
    }
  }
  definition.added_tokens = added;
  for (const field of ['normalizer', 'pre_tokenizer', 'post_processor', 'decoder']) definition[field] ??= null;
  const model = definition.model as { type?: unknown; vocab?: unknown; merges?: unknown } | undefined;
  if (typeof model !== 'object' || model === null) fail('model', 'an object');
  if (model!.type !== undefined && model!.type !== 'BPE') fail('model', 'a BPE model (Llama, GPT-2, Qwen)');
  if (typeof model!.vocab !== 'object' || model!.vocab === null || Array.isArray(model!.vocab))
    fail('model', 'a vocab {token: id}');
  for (const id of Object.values(model!.vocab as object)) {
    if (!Number.isInteger(id) || id < 0 || id > MAX_ID) fail('model', 'whole ids in vocab');
  }
  if (!Array.isArray(model!.merges)) fail('model', 'a list of merges');
}

/** Time limit per text, against patterns with endless backtracking. */
const MAX_ENCODE_MS = 5000;

// Node's time limit for scripts also ends a running regular expression.
function withinTime<T>(work: () => T, timeout: number, file: string): T {
  let result: { value: T } | undefined;
  const slot = globalThis as unknown as Record<string, unknown>;
  slot[LIMITED] = () => {
    result = { value: work() };
  };
  try {
    limited.runInThisContext({ timeout });
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== 'ERR_SCRIPT_EXECUTION_TIMEOUT') throw cause;
    throw new RunError('tokenizer', `${file}: takes more than ${timeout / 1000} s for one text`, { cause });
  } finally {
    delete slot[LIMITED];
  }
  return result!.value;
}

const LIMITED = '__vprefLimited';
const limited = new Script(`globalThis.${LIMITED}()`);

// Ten times the largest known tokenizer; a hostile id must not allocate a table of 2^31 entries.
const MAX_ID = 4_000_000;

function libraryDecoder(
  library: { decode(ids: number[], options: object): string },
  config: Record<string, unknown>,
): (ids: number[]) => string {
  const options = {
    skip_special_tokens: false,
    clean_up_tokenization_spaces: config.clean_up_tokenization_spaces === true,
  };
  return (ids) => (ids.length === 0 ? '' : library.decode(ids, options));
}

function tokenText(value: unknown): string | undefined {
  if (typeof value === 'string') return value;
  const content = (value as { content?: unknown } | null | undefined)?.content;
  return typeof content === 'string' ? content : undefined;
}

async function exists(file: string): Promise<boolean> {
  return access(file).then(
    () => true,
    () => false,
  );
}
