// SPDX-License-Identifier: Apache-2.0
// A guide: one text file with the judge's prompt, its inputs, and how its reply is parsed.
import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { UsageError } from '../../records/error.ts';
import { type AllowedReply, parseReplies } from './allowed-replies.ts';
import { type ReplyKind, replyKinds } from './replies/index.ts';

/** One metric of a JSON reply. */
export interface ScoreField {
  name: string;
  type: 'integer' | 'number';
  minimum: number;
  maximum: number;
}

export interface Guide {
  name: string;
  version: string;
  summary: string;
  /** `all`: one call shows all responses. `each`: one call per response. `pair`: two responses against each other. */
  show: 'all' | 'each' | 'pair';
  /** One call for each turn of the conversation. */
  perTurn: boolean;
  /** pair: 2 = both orders are asked; 1 = one order, drawn from the seed. */
  games: 1 | 2;
  /** The judge sees the record's images. */
  images: boolean;
  reply: ReplyKind;
  scores: ScoreField[];
  /** json: a comment precedes each response's numbers. */
  comment: boolean;
  /** json: the judge first answers the question itself. */
  ownResponse: boolean;
  /** Label of the response that the others are compared with; it is not judged itself. Default: the first. */
  anchor: string | undefined;
  /** Record fields that the guide requires. */
  needs: ('reference' | 'choices' | 'context')[];
  /** Derives the reply without a call where possible: `letter` (the response is only an option's letter). */
  skip: 'letter' | undefined;
  temperature: number | undefined;
  topP: number | undefined;
  maxTokens: number;
  stop: string[] | undefined;
  /** probability: the allowed replies. */
  replies: AllowedReply[];
  /** Each response is split into claims, and the question is asked per claim. */
  claims: boolean;
  /** Jinja templates. */
  system: string | undefined;
  user: string;
  /** claims: the prompt that splits a response. */
  split: string | undefined;
  /** Hash of the file's bytes. */
  sha256: string;
}

/** Names of the bundled guides. */
export function guideNames(): string[] {
  return [...guideFiles().keys()].sort();
}

/** The guide of this name, or in this file. Throws UsageError with the line that is wrong. */
export function loadGuide(nameOrFile: string): Guide {
  const isName = /^[a-z0-9-]+$/.test(nameOrFile);
  const file = isName ? guideFiles().get(nameOrFile) : nameOrFile;
  if (file === undefined || !existsSync(file)) {
    const known = guideNames().join(', ');
    throw new UsageError(`--guide: expected one of ${known}, or a file, got ${JSON.stringify(nameOrFile)}`);
  }
  return parseGuide(readFileSync(file, 'utf8'), file);
}

/** The bundled guides by name: those of guides/, and NAME.guide.md beside their benchmark. */
function guideFiles(): Map<string, string> {
  const root = packageRoot();
  const benchmarks = join(root, 'src/benchmarks');
  const folders = readdirSync(benchmarks, { withFileTypes: true }).filter((entry) => entry.isDirectory());
  const files = [join(root, 'guides'), ...folders.map(({ name }) => join(benchmarks, name))].flatMap((folder) =>
    readdirSync(folder).map((file) => join(folder, file)),
  );
  return new Map(
    files
      .filter((file) => file.startsWith(join(root, 'guides')) || file.endsWith('.guide.md'))
      .map((file) => [basename(file).replace(/(?:\.guide)?\.md$/, ''), file]),
  );
}

/** The folder with guides/, both for the bundle and for the sources. */
function packageRoot(): string {
  for (let folder = dirname(fileURLToPath(import.meta.url)); ; folder = dirname(folder)) {
    if (existsSync(join(folder, 'guides', 'helpsteer.md'))) return folder;
    if (folder === dirname(folder)) throw new UsageError('the folder guides/ of the program is missing');
  }
}

const KEYS = new Set([
  ...[
    'name',
    'version',
    'summary',
    'show',
    'per_turn',
    'games',
    'images',
    'reply',
    'scores',
    'comment',
    'own_response',
  ],
  ...['anchor', 'needs', 'skip', 'temperature', 'top_p', 'max_tokens', 'stop', 'replies', 'claims'],
]);

/** Reads a guide: `key: value` lines between two lines of `---`, then [system] and [user] sections of Jinja text. */
export function parseGuide(text: string, file: string): Guide {
  const lines = text.replace(/^\uFEFF/, '').split(/\r?\n/);
  const fail = (line: number, expected: string, got: string): never => {
    throw new UsageError(`${file}:${line}: expected ${expected}, got ${JSON.stringify(got)}`);
  };
  const end = lines.indexOf('---', 1);
  if (lines[0] !== '---' || end === -1) fail(1, 'a head between two lines of ---', lines[0] ?? '');
  const head = new Map<string, { value: string; line: number }>();
  for (const [index, line] of lines.slice(1, end).entries()) {
    if (line.trim() === '' || line.startsWith('#')) continue;
    const match = /^([a-z_]+):\s*(.*?)\s*$/.exec(line);
    if (match === null) fail(index + 2, 'key: value', line);
    if (!KEYS.has(match![1]!)) fail(index + 2, `one of ${[...KEYS].join(', ')}`, match![1]!);
    head.set(match![1]!, { value: match![2]!, line: index + 2 });
  }
  const sections = guideSections(lines, end + 1);
  if (!sections.user) fail(lines.length, 'a [user] section with text', '');
  const settings = guideHead(head, fail);
  if (settings.claims !== (sections.split !== undefined))
    fail(1, 'a [split] section in a guide with claims: true, and in no other', sections.split ?? '');
  return {
    ...settings,
    system: sections.system,
    user: sections.user!,
    split: sections.split,
    sha256: createHash('sha256').update(text).digest('hex'),
  };
}

function guideSections(lines: string[], from: number): Partial<Record<'system' | 'user' | 'split', string>> {
  const found: Record<string, string[]> = {};
  let current: string[] | undefined;
  for (const line of lines.slice(from)) {
    const match = /^\[(system|user|split)\]$/.exec(line);
    if (match) {
      current = [];
      found[match[1]!] = current;
    } else current?.push(line);
  }
  const texts = Object.entries(found).map(([name, text]) => [name, text.join('\n').trim()] as const);
  return Object.fromEntries(texts.filter(([, text]) => text !== ''));
}

type Head = Map<string, { value: string; line: number }>;
type Fail = (line: number, expected: string, got: string) => never;

function guideHead(head: Head, fail: Fail): Omit<Guide, 'system' | 'user' | 'split' | 'sha256'> {
  const oneOf = <T extends string>(key: string, allowed: readonly T[], fallback?: T): T => {
    const entry = head.get(key);
    if (entry === undefined && fallback !== undefined) return fallback;
    if (!allowed.includes(entry?.value as T))
      fail(entry?.line ?? 1, `${key}: ${allowed.join('|')}`, entry?.value ?? '');
    return entry!.value as T;
  };
  const isSet = (key: string) => oneOf(key, ['true', 'false'], 'false') === 'true';
  const numeric = (key: string): number | undefined => {
    const entry = head.get(key);
    if (entry === undefined) return undefined;
    const value = Number(entry.value);
    return entry.value !== '' && Number.isFinite(value) && value >= 0
      ? value
      : fail(entry.line, `${key}: a number`, entry.value);
  };
  const text = (key: string) => head.get(key)?.value || undefined;
  const words = (key: string) => text(key)?.split(/\s+/) ?? [];
  const reply = oneOf('reply', replyKinds);
  const scores = words('scores').map(
    (word) => scoreField(word) ?? fail(head.get('scores')!.line, 'name=low..high', word),
  );
  if (reply === 'json' && scores.length === 0) fail(1, 'scores: name=low..high ... (reply: json needs them)', '');
  const show = oneOf('show', ['all', 'each', 'pair']);
  const replies = guideReplies(head, { reply, show, scores }, fail);
  const needs = words('needs').map((word) => {
    return word === 'reference' || word === 'choices' || word === 'context'
      ? word
      : fail(head.get('needs')!.line, 'reference, choices or context', word);
  });
  return {
    name: text('name') ?? fail(1, 'name: a name', ''),
    version: text('version') ?? '1',
    summary: text('summary') ?? '',
    show,
    perTurn: isSet('per_turn'),
    games: oneOf('games', ['1', '2'], '1') === '2' ? 2 : 1,
    images: isSet('images'),
    reply,
    scores,
    comment: isSet('comment'),
    ownResponse: isSet('own_response'),
    anchor: text('anchor'),
    needs,
    skip: head.has('skip') ? oneOf('skip', ['letter'] as const) : undefined,
    temperature: numeric('temperature'),
    topP: numeric('top_p'),
    maxTokens: numeric('max_tokens') ?? 1024,
    stop: text('stop') === undefined ? undefined : [text('stop')!],
    replies,
    claims: isSet('claims') && (reply === 'probability' || fail(head.get('claims')!.line, 'reply: probability', reply)),
  };
}

/** Keys that have no effect if no text is generated or parsed. */
const TEXT_KEYS = ['comment', 'own_response', 'anchor', 'skip', 'temperature', 'top_p', 'stop'];

function guideReplies(
  head: Head,
  { reply, show, scores }: Pick<Guide, 'reply' | 'show' | 'scores'>,
  fail: Fail,
): AllowedReply[] {
  const entry = head.get('replies');
  if (reply !== 'probability') {
    if (entry) fail(entry.line, 'reply: probability (replies: belongs to it)', reply);
    return [];
  }
  const idle = TEXT_KEYS.find((key) => head.has(key));
  if (idle) fail(head.get(idle)!.line, `no ${idle}: with reply: probability`, head.get(idle)!.value);
  if (show !== 'each') fail(head.get('show')!.line, 'show: each (reply: probability)', show);
  if (scores.length === 0) fail(1, 'scores: name=low..high ... (reply: probability needs them)', '');
  const form = 'replies: {"NAME": [VALUE, "SPELLING", ...], ...}, two or more, each spelling once';
  const replies = parseReplies(entry?.value ?? '') ?? fail(entry?.line ?? 1, form, entry?.value ?? '');
  for (const { name, value } of replies) {
    const metric = scores.find(({ minimum, maximum }) => value < minimum || value > maximum);
    if (metric)
      fail(entry!.line, `values within ${metric.minimum}..${metric.maximum} (${metric.name})`, `${name}: ${value}`);
  }
  return replies;
}

/** "helpfulness=0..4" is an integer, "quality=0.0..1.0" a number. */
function scoreField(word: string): ScoreField | undefined {
  const match = /^([a-z][a-z0-9_]*)=(-?\d+(?:\.\d+)?)\.\.(-?\d+(?:\.\d+)?)$/.exec(word);
  if (match === null) return undefined;
  const [, name, low, high] = match;
  if (Number(low) >= Number(high)) return undefined;
  const type = `${low}${high}`.includes('.') ? 'number' : 'integer';
  return { name: name!, type, minimum: Number(low), maximum: Number(high) };
}
