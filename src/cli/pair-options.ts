// SPDX-License-Identifier: Apache-2.0
// The flags of pair, and their conversion to options.

import { Flags, type Interfaces } from '@oclif/core';
import { DOUBT } from '../records/claim.ts';
import { count } from '../records/count.ts';
import { UsageError } from '../records/error.ts';
import { type PairOptions, type PairReport, pairRules, type RuleName } from '../stages/pair/index.ts';
import { describeBias } from '../stages/pair/short-answer-bias.ts';
import { integerFlag, numberFlag, recordFlags } from './flags.ts';
import { listFlag, parseLimits } from './list-flags.ts';
import { presetFlags } from './preset.ts';
import type { RunContext } from './run-context.ts';

const RULES = Object.keys(pairRules) as RuleName[];
const PAIRING: RuleName[] = ['seva', 'gap', 'score', 'best-of-n', 'given'];
const SCORING: RuleName[] = ['score', 'best-of-n', 'sft', 'kto'];

/** Rules with quirks in the published code. */
export const FAITHFUL_RULES: RuleName[] = ['seva', 'score'];

/** Rules that use a flag; other flags work with every rule. */
const FLAG_RULES: Record<string, RuleName[]> = {
  metrics: SCORING,
  by: ['score', 'best-of-n'],
  doubt: ['score', 'best-of-n'],
  guide: [...SCORING, 'steerlm'],
  judge: [...SCORING, 'steerlm'],
  run: [...SCORING, 'steerlm'],
  margin: ['score', 'best-of-n', 'kto'],
  ties: SCORING,
  negatives: PAIRING,
  gap: ['gap'],
  'weight-by': ['gap'],
  views: ['seva', 'gap'],
  label: ['seva', 'gap', ...SCORING, 'steerlm'],
  finished: ['seva', 'gap', ...SCORING, 'steerlm'],
  from: ['sft'],
  'min-score': ['sft'],
  threshold: ['kto'],
  'image-negatives': PAIRING,
  flip: [...PAIRING, 'kto'],
  'max-length-ratio': PAIRING,
  balance: PAIRING,
};

export const pairFlags = {
  ...recordFlags,
  ...presetFlags,
  rule: Flags.option({ options: RULES })({
    helpValue: 'RULE',
    summary: `how to choose the responses: ${RULES.join(', ')}`,
  }),
  metrics: listFlag({
    helpValue: 'NAME[=W],...',
    summary: 'metrics to sum, with weights; default: helpfulness,correctness,coherence',
  }),
  by: Flags.option({ options: ['claims'] as const })({
    exclusive: ['metrics'],
    helpValue: 'claims',
    summary: 'rank by the number of doubtful claims instead of metrics; fewer is better',
  }),
  doubt: numberFlag({
    min: 0,
    max: 1,
    helpValue: 'P',
    summary: `--by claims: a claim is doubtful if P(yes) is below P; default: ${DOUBT}`,
  }),
  guide: Flags.string({ helpValue: 'NAME', summary: 'use only annotations of this guide' }),
  judge: Flags.string({ helpValue: 'NAME', summary: 'use only annotations by this judge' }),
  run: integerFlag({ helpValue: 'N', summary: 'use only judge run N; default: the mean over runs' }),
  margin: numberFlag({
    min: 0,
    helpValue: 'X',
    summary: 'minimum score difference between chosen and rejected; default: 2, for best-of-n 0, --by claims 1',
  }),
  ties: Flags.option({ options: ['first', 'random', 'drop'] as const })({
    summary: 'which of several equally good responses to choose; default: first',
  }),
  gap: Flags.string({
    helpValue: 'LO..HI',
    summary: 'gap: range of logps(chosen) - logps(rejected) given the clean image, in nats',
  }),
  'weight-by': Flags.option({ options: ['gap'] as const })({
    helpValue: 'gap',
    summary: "gap: write the pair's mean gap as its weight",
  }),
  negatives: integerFlag({
    min: 1,
    helpValue: 'K',
    summary: 'write up to K distinct rejected responses per pair, as a list',
  }),
  views: listFlag({ helpValue: 'NAME,...', summary: 'take rejected responses from these views; default: all' }),
  label: Flags.string({ helpValue: 'NAME', summary: 'use only responses with this label' }),
  finished: Flags.boolean({ summary: 'use only complete responses (finish_reason stop)' }),
  from: Flags.option({ options: ['reference', 'judge', 'best'] as const })({
    summary: 'sft: where the response comes from; default: reference',
  }),
  'min-score': numberFlag({ helpValue: 'X', summary: 'sft --from best: minimum score' }),
  threshold: numberFlag({
    helpValue: 'X',
    summary: 'kto: responses with at least this score are desirable, others undesirable',
  }),
  'image-negatives': Flags.string({
    multiple: true,
    helpValue: 'VIEW',
    summary: "write this view's image files as rejected_images; may be repeated, one set per view",
  }),
  flip: numberFlag({
    min: 0,
    max: 1,
    helpValue: 'SHARE',
    summary: 'swap chosen and rejected in this share of the pairs (label noise)',
  }),
  'min-length': integerFlag({ helpValue: 'N', summary: 'minimum response length, in characters' }),
  'max-length': integerFlag({ helpValue: 'N', summary: 'maximum response length, in characters' }),
  'max-length-ratio': numberFlag({
    min: 1,
    helpValue: 'X',
    summary: 'maximum ratio of the longer to the shorter response; default: none, --by claims 2',
  }),
  'max-repetition': numberFlag({
    min: 0,
    max: 1,
    helpValue: 'SHARE',
    summary: 'maximum share of repeated 4-grams in a response',
  }),
  balance: Flags.boolean({
    summary:
      'drop pairs until no short response (Yes, No, ...) is over-represented among chosen; holds all pairs in memory',
  }),
  'max-pairs': Flags.string({
    multiple: true,
    helpValue: '[SOURCE=]N',
    summary: 'keep at most N rows, drawn at random, per source or in total; may be repeated; holds all rows in memory',
  }),
};

type PairFlags = Interfaces.InferredFlags<typeof pairFlags>;

/** The options from the flags. Throws UsageError for invalid combinations. */
export function pairOptions(flags: PairFlags): PairOptions {
  const { rule, from = 'reference', 'min-score': minScore, threshold } = flags;
  if (rule === undefined) throw new UsageError(`--rule: expected one of ${RULES.join(', ')}, got nothing`);
  for (const [name, rules] of Object.entries(FLAG_RULES)) {
    const value = flags[name as keyof PairFlags];
    if (value !== undefined && value !== false && !rules.includes(rule))
      throw new UsageError(`--${name}: expected --rule ${rules.join(', ')}, got --rule ${rule}`);
  }
  if (minScore !== undefined && from !== 'best')
    throw new UsageError(`--min-score: expected --from best, got --from ${from}`);
  if (threshold !== undefined && flags.margin !== undefined)
    throw new UsageError('--margin: expected no --threshold with it, each decides which responses are desirable');
  if (flags.doubt !== undefined && flags.by === undefined)
    throw new UsageError('--doubt: expected --by claims with it');
  const band = gapBand(flags);
  const { seed, faithful, negatives, views, label, finished: finishedOnly = false } = flags;
  const {
    margin = flags.by !== undefined ? 1 : rule === 'best-of-n' ? 0 : 2,
    ties = 'first',
    flip = 0,
    'image-negatives': imageNegatives = [],
  } = flags;
  const whole = wholeFilters(flags);
  return {
    rule,
    rules: {
      scoring: scoring(flags),
      margin,
      ties,
      from,
      finishedOnly,
      seed,
      faithful,
      ...defined({ negatives, views, label, minScore, threshold, gap: band, weightBy: flags['weight-by'] }),
    },
    imageNegatives,
    flip,
    filters: defined({
      minLength: flags['min-length'],
      maxLength: flags['max-length'],
      // A shorter response has fewer claims to doubt, so limit the length ratio.
      maxLengthRatio: flags['max-length-ratio'] ?? (flags.by && 2),
      maxRepetition: flags['max-repetition'],
    }),
    ...(whole && { whole }),
  };
}

/** No band suits every model, so rule gap requires --gap. */
function gapBand({ rule, gap: text, 'weight-by': weightBy }: PairFlags): { low: number; high: number } | undefined {
  if (rule !== 'gap') return undefined;
  const [low, high] =
    /^(-?\d+(?:\.\d+)?)\.\.(-?\d+(?:\.\d+)?)$/
      .exec(text ?? '')
      ?.slice(1)
      .map(Number) ?? [];
  if (low === undefined || high === undefined || !(low <= high))
    throw new UsageError(`--gap: expected LO..HI in nats, LO not above HI, got ${text ?? 'nothing'}`);
  if (weightBy !== undefined && low <= 0)
    throw new UsageError(`--weight-by gap: expected --gap above 0 (gaps become weights), got ${text}`);
  return { low, high };
}

function scoring({ metrics = ['helpfulness', 'correctness', 'coherence'], guide, judge, run, by, doubt }: PairFlags) {
  const weights = metrics.map((text) => {
    const [name = '', weight = '1', ...more] = text.split('=');
    if (name === '' || weight.trim() === '' || !Number.isFinite(Number(weight)) || more.length > 0)
      throw new UsageError(`--metrics: expected NAME or NAME=WEIGHT, got ${JSON.stringify(text)}`);
    return [name, Number(weight)] as const;
  });
  const claims = by && { by, doubt: doubt ?? DOUBT };
  return { metrics: Object.fromEntries(weights), ...defined({ guide, judge, run }), ...claims };
}

function wholeFilters({ balance = false, 'max-pairs': texts = [], seed }: PairFlags) {
  const limits = parseLimits('--max-pairs', texts);
  if (!balance && limits.length === 0) return undefined;
  return { balance, limits, seed };
}

/** Prints notes on facts that the rows do not show. */
export function noteReport(report: PairReport, run: Pick<RunContext<unknown, unknown>, 'note' | 'warn'>): void {
  if (report.left.size > 0) {
    const reasons = [...report.left].sort((a, b) => b[1] - a[1]).map(([reason, number]) => `${reason} ${number}`);
    run.note(`responses dropped from records that gave other rows: ${reasons.join(', ')}`);
  }
  const gaps = report.gaps.describe();
  if (gaps !== undefined) run.note(`negatives by view: ${gaps}`);
  if (report.flipped > 0) run.note(`${count(report.flipped, 'preference')} swapped`);
  for (const bias of report.shortAnswers.biases().slice(0, 3))
    run.warn(`${describeBias(bias)}; a model can learn the word instead of the image (--balance evens it out)`);
}

/** Members of --summary: the rule, and the responses dropped from records that gave other rows. */
export function figuresOf(rule: RuleName, { left, flipped, shortAnswers, gaps }: PairReport): object {
  const biases = shortAnswers.biases().map(describeBias);
  return {
    rule,
    answers_left_out: Object.fromEntries(left),
    flipped,
    ...(biases.length > 0 && { leans: biases }),
    ...(rule === 'gap' && gaps.figures()),
  };
}

/** The defined members. */
function defined<T extends object>(members: T): { [K in keyof T]?: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(members).filter(([, value]) => value !== undefined)) as never;
}
