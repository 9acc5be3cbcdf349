// SPDX-License-Identifier: Apache-2.0
// NLTK's word tokenizer (NLTKWordTokenizer): rules split marks and clitics, in this order.
import { PYTHON_SPACE, pythonSplit } from '../text.ts';

const S = `[${PYTHON_SPACE}]`;
const WORD = '[\\p{L}\\p{N}_]';
/** \b of Python's re, before and after a word. */
const BEGIN = `(?<!${WORD})(?=${WORD})`;
const END = `(?<=${WORD})(?!${WORD})`;
const rule = (pattern: string, replacement: string, flags = ''): [RegExp, string] => [
  new RegExp(pattern, `gu${flags}`),
  replacement,
];

const OPENING_QUOTES = [
  rule('[\u00ab\u201c\u2018\u201e]|`+', ' $& '),
  rule('^"', '``'),
  rule('``', ' $& '),
  rule(`([ (\\[{<])(?:"|'{2})`, '$1 `` '),
  rule(`(?<!${WORD})'(?!(?:re|ve|ll|m|t|s|d|n)${END})(?=${WORD})`, '$& ', 'i'),
];
const MARKS = [
  rule(`([^.])(\\.)([\\])}>"'\u00bb\u201d\u2019 ]*)${S}*$`, '$1 $2 $3 '),
  rule('([:,])(\\P{Nd})', ' $1 $2'),
  rule('[:,]$', ' $& '),
  rule('\\.{2,}', ' $& '),
  rule('[;@#$%&]', ' $& '),
  rule('[\u2012-\u2015]', ' $& '),
  rule(`([^.])(\\.)([\\])}>"']*)${S}*$`, '$1 $2$3 '),
  rule('[?!]', ' $& '),
  rule(`([^'])' `, `$1 ' `),
  rule('[*]', ' $& '),
  rule('[\\][(){}<>]', ' $& '),
  rule('--', ' $& '),
];
const CLOSING_QUOTES = [
  rule('[\u00bb\u201d\u2019]', ' $& '),
  rule(`''`, ' $& '),
  rule('"', ` '' `),
  rule(`${S}+`, ' '),
  rule(`([^' ])('[sS]|'[mM]|'[dD]|') `, '$1 $2 '),
  rule(`([^' ])('ll|'LL|'re|'RE|'ve|'VE|n't|N'T) `, '$1 $2 '),
];
const GLUED = [
  ...['can not', "d 'ye", 'gim me', 'gon na', 'got ta', 'lem me', "more 'n"].map((pair) => {
    const [first, second] = pair.split(' ');
    return rule(`${BEGIN}(${first})(${second})${END}`, ' $1 $2 ', 'i');
  }),
  rule(`${BEGIN}(wan)(na)(?=${S})`, ' $1 $2 ', 'i'),
  ...['is', 'was'].map((verb) => rule(` ('t)(${verb})${END}`, ' $1 $2 ', 'i')),
];

/** The words and marks of one sentence. */
export function sentenceWords(sentence: string): string[] {
  const apply = (text: string, rules: [RegExp, string][]) =>
    rules.reduce((parted, [pattern, replacement]) => parted.replace(pattern, replacement), text);
  const marked = apply(apply(sentence, OPENING_QUOTES), MARKS);
  return pythonSplit(apply(apply(` ${marked} `, CLOSING_QUOTES), GLUED));
}
