// SPDX-License-Identifier: Apache-2.0
// NLTK's sentence splitter (PunktSentenceTokenizer): a full stop ends a sentence, except after known abbreviations, initials
// and numbers, depending on the usual case of the next word. Kiss and Strunk 2006.
import { PYTHON_SPACE } from '../text.ts';

/** Trained parameters. */
export interface SentenceTables {
  abbreviations: ReadonlySet<string>;
  starters: ReadonlySet<string>;
  /** "word next". */
  collocations: ReadonlySet<string>;
  /** Word -> positions and cases in which it was seen, as bits. */
  contexts: ReadonlyMap<string, number>;
}

const MID_UPPER = 1 << 2;
const UPPER = (1 << 1) + MID_UPPER + (1 << 3);
const BEGIN_LOWER = 1 << 4;
const LOWER = BEGIN_LOWER + (1 << 5) + (1 << 6);

const S = `[${PYTHON_SPACE}]`;
const NOT_S = `[^${PYTHON_SPACE}]`;
const QUOTES = '\u2018\u2019\u201c\u201d\u00ab\u00bb';
const NO_WORD = `[)";}\\]*:@'({[${QUOTES}?!]`;
const RUN = `(?:-{2,}|\\.{2,}|(?:\\.${S}){2,}\\.)`;
const TOKEN = new RegExp(
  `${RUN}|(?=[^("\`{[:;&#*@)}\\]\\-,])${NOT_S}+?(?=${S}|$|${NO_WORD}|${RUN}|,(?=$|${S}|${NO_WORD}|${RUN}))|${NOT_S}`,
  'gu',
);
const CANDIDATE = new RegExp(`[.?!](?=(?<after>${NO_WORD}|${S}+(?<next>${NOT_S}+)))`, 'gu');
const CLOSING = new RegExp(`^["')\\]}${QUOTES}]+?(?:${S}+|(?=--)|$)`, 'u');
const NUMBER = /^-?[.,]?\p{Nd}[\p{Nd},.-]*\.?$/u;
// \w without digits: letters, other numbers and the underscore.
const INITIAL = /^[\p{L}\p{Nl}\p{No}_]\.$/u;

interface Token {
  text: string;
  /** Lower case; all numbers are one type. */
  type: string;
  isAbbreviation: boolean;
  isEllipsis: boolean;
  isBreak: boolean;
}

/** The text's sentences, in order, without the blanks between them. */
export function textSentences(text: string, tables: SentenceTables): string[] {
  return realigned(text, slicesOf(text, tables)).map(([start, end]) => text.slice(start, end));
}

type Slice = [start: number, end: number];

function slicesOf(text: string, tables: SentenceTables): Slice[] {
  const slices: Slice[] = [];
  let start = 0;
  for (const { match, context } of candidates(text)) {
    if (!holdsBreak(context, tables)) continue;
    const end = match.index + 1;
    slices.push([start, end]);
    const { after, next } = match.groups!;
    start = next === undefined ? end : end + after!.length - next.length;
  }
  const rest = text.replace(new RegExp(`${S}+$`, 'u'), '').length;
  return [...slices, [start, Math.max(start, rest)]];
}

/** Possible sentence ends, each with the words before and after; the last if a word has several. */
function candidates(text: string): { match: RegExpExecArray; context: string }[] {
  const found: { match: RegExpExecArray; word: Slice }[] = [];
  let previous: { match: RegExpExecArray; word: Slice } | undefined;
  for (const match of text.matchAll(CANDIDATE)) {
    const from = previous?.word[1] ?? 0;
    const blank = lastBlank(text.slice(from, match.index));
    const word: Slice = [blank > 0 ? from + blank + 1 : (previous?.word[0] ?? 0), match.index];
    if (previous !== undefined && previous.word[1] <= word[0]) found.push(previous);
    previous = { match, word };
  }
  if (previous !== undefined) found.push(previous);
  return found.map(({ match, word }) => ({
    match,
    context: text.slice(word[0], word[1]) + match[0] + match.groups!.after,
  }));
}

function lastBlank(text: string): number {
  return Math.max(0, text.search(/[ \t\n\r\v\f][^ \t\n\r\v\f]*$/));
}

/** A token that ends a sentence, and another after it. */
function holdsBreak(context: string, tables: SentenceTables): boolean {
  const tokens = context
    .split('\n')
    .flatMap((line) => (line.match(TOKEN) ?? []).map((token) => firstLook(token, tables)));
  for (const [index, token] of tokens.entries()) secondLook(token, tokens[index + 1], tables);
  const at = tokens.findIndex((token) => token.isBreak);
  return at !== -1 && at < tokens.length - 1;
}

function firstLook(text: string, { abbreviations }: SentenceTables): Token {
  const token = { text, type: NUMBER.test(text.toLowerCase()) ? '##number##' : text.toLowerCase() };
  const isEllipsis = /^\.\.+$/.test(text);
  const isStopped = text.endsWith('.') && !text.endsWith('..') && text !== '.';
  const stem = text.slice(0, -1).toLowerCase();
  const isAbbreviation = isStopped && (abbreviations.has(stem) || abbreviations.has(stem.split('-').at(-1)!));
  const isBreak = ['.', '?', '!'].includes(text) || (isStopped && !isAbbreviation);
  return { ...token, isEllipsis, isAbbreviation, isBreak };
}

/** The next word may turn an abbreviation into an end, and an end into an abbreviation. */
function secondLook(token: Token, next: Token | undefined, { collocations, starters, contexts }: SentenceTables): void {
  if (next === undefined || !token.text.endsWith('.')) return;
  const type = withoutStop(token.type);
  const nextType = next.isBreak ? withoutStop(next.type) : next.type;
  const isInitial = INITIAL.test(token.text);
  const isUpper = /^\p{Uppercase}/u.test(next.text);
  const mark = (isBreak: boolean) => Object.assign(token, { isBreak, ...(!isBreak && { isAbbreviation: true }) });
  if (collocations.has(`${type} ${nextType}`)) {
    mark(false);
    return;
  }
  const context = contexts.get(nextType) ?? 0;
  const begins = beginsSentence(next, context);
  if (
    (token.isAbbreviation || token.isEllipsis) &&
    !isInitial &&
    (begins === true || (isUpper && starters.has(nextType)))
  ) {
    mark(true);
    return;
  }
  if (!isInitial && type !== '##number##') return;
  if (begins === false || (begins === undefined && isInitial && isUpper && (context & LOWER) === 0)) mark(false);
}

/** Whether the word's case, compared with its usual case, shows that it begins a sentence; undefined: unclear. */
function beginsSentence({ text }: Token, context: number): boolean | undefined {
  if ([';', ':', ',', '.', '!', '?'].includes(text)) return false;
  if (/^\p{Uppercase}/u.test(text) && (context & LOWER) !== 0 && (context & MID_UPPER) === 0) return true;
  if (/^\p{Lowercase}/u.test(text) && ((context & UPPER) !== 0 || (context & BEGIN_LOWER) === 0)) return false;
  return undefined;
}

function withoutStop(type: string): string {
  return type.length > 1 && type.endsWith('.') ? type.slice(0, -1) : type;
}

/** Closing marks belong to the sentence before them. */
function realigned(text: string, slices: Slice[]): Slice[] {
  const sentences: Slice[] = [];
  let taken = 0;
  for (const [index, [from, end]] of slices.entries()) {
    const start = from + taken;
    const next = slices[index + 1];
    const closing = next && CLOSING.exec(text.slice(...next))?.[0];
    taken = closing?.length ?? 0;
    if (next !== undefined && closing !== undefined)
      sentences.push([start, next[0] + closing.replace(new RegExp(`${S}+$`, 'u'), '').length]);
    else if (start < end) sentences.push([start, end]);
  }
  return sentences;
}
