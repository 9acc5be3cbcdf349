// SPDX-License-Identifier: Apache-2.0
// NLTK's part-of-speech tagger (PerceptronTagger): greedy, from left to right, the highest sum of feature weights.

export interface TaggerTables {
  /** Feature -> tag -> weight. */
  weights: Readonly<Record<string, Readonly<Record<string, number>>>>;
  /** Words that are always tagged the same. */
  tagdict: Readonly<Record<string, string>>;
  classes: readonly string[];
}

/** Penn Treebank tags of a text's words. */
export function tagWords(words: readonly string[], tables: TaggerTables): string[] {
  const context = ['-START-', '-START2-', ...words.map(normal), '-END-', '-END2-'];
  let [previous, before] = ['-START-', '-START2-'];
  return words.map((word, index) => {
    const known = Object.hasOwn(tables.tagdict, word) ? tables.tagdict[word]! : '';
    const tag = known || bestTag(features(word, index + 2, context, [previous, before]), tables);
    before = previous;
    previous = tag;
    return tag;
  });
}

function normal(word: string): string {
  if (word.includes('-') && !word.startsWith('-')) return '!HYPHEN';
  if (/^(?:[\p{Nd}\p{No}]){4}$/u.test(word) && isDigit(word)) return '!YEAR';
  return isDigit([...word][0] ?? '') ? '!DIGITS' : word.toLowerCase();
}

/** str.isdigit(): decimal digits, and superscripts and circled ones, which are a part of \p{No}. */
function isDigit(text: string): boolean {
  return (
    text !== '' &&
    /^(?:\p{Nd}|[\u00b2\u00b3\u00b9\u2070\u2074-\u2079\u2080-\u2089\u2460-\u2468\u2474-\u247c\u2488-\u2490\u24ea\u24f5-\u24fd\u24ff\u2776-\u277e\u2780-\u2788\u278a-\u2792])+$/u.test(
      text,
    )
  );
}

const lastThree = (word: string) => [...word].slice(-3).join('');

function features(
  word: string,
  at: number,
  context: readonly string[],
  [previous, before]: [string, string],
): string[] {
  const [two, one, own, next, later] = [-2, -1, 0, 1, 2].map((step) => context[at + step]!) as [
    string,
    string,
    string,
    string,
    string,
  ];
  return [
    'bias',
    `i suffix ${lastThree(word)}`,
    `i pref1 ${[...word][0] ?? ''}`,
    `i-1 tag ${previous}`,
    `i-2 tag ${before}`,
    `i tag+i-2 tag ${previous} ${before}`,
    `i word ${own}`,
    `i-1 tag+i word ${previous} ${own}`,
    `i-1 word ${one}`,
    `i-1 suffix ${lastThree(one)}`,
    `i-2 word ${two}`,
    `i+1 word ${next}`,
    `i+1 suffix ${lastThree(next)}`,
    `i+2 word ${later}`,
  ];
}

// Sums follow the order of the features, because float addition depends on it; ties go to the alphabetically last tag.
function bestTag(names: readonly string[], { weights, classes }: TaggerTables): string {
  const scores = new Map<string, number>();
  for (const name of names) {
    if (!Object.hasOwn(weights, name)) continue;
    for (const [tag, weight] of Object.entries(weights[name]!)) scores.set(tag, (scores.get(tag) ?? 0) + weight);
  }
  return classes.reduce((best, tag) => {
    const difference = (scores.get(tag) ?? 0) - (scores.get(best) ?? 0);
    return difference > 0 || (difference === 0 && tag > best) ? tag : best;
  });
}
