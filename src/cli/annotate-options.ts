// SPDX-License-Identifier: Apache-2.0
// The flags of annotate, and the settings that they come to.
import { Flags, type Interfaces } from '@oclif/core';
import { UsageError } from '../records/error.ts';
import type { AnnotateSettings } from '../stages/annotate/open.ts';
import { BATCH_PROVIDERS, computesHere, JUDGE_FORMS, ownGuide } from '../stages/annotate/providers/index.ts';
import { rewardApiNames } from '../stages/annotate/providers/reward-apis.ts';
import type { Tally } from '../stages/annotate/tally.ts';
import { integerFlag, modelFlags, numberFlag, recordFlags } from './flags.ts';
import type { RunContext } from './run-context.ts';

const LOCAL_CALLS = 64;

export const annotateFlags = {
  judge: Flags.string({
    required: true,
    helpValue: 'JUDGE',
    summary: JUDGE_FORMS,
  }),
  guide: Flags.string({ default: 'helpsteer', helpValue: 'NAME|FILE', summary: 'what the judge is asked' }),
  claims: Flags.string({
    helpValue: 'exec:CMD',
    summary: 'guide claims: a command that splits answers into claims, in place of the judge',
  }),
  runs: integerFlag({ min: 1, default: 1, helpValue: 'N', summary: 'judge each record N times, one entry each' }),
  order: Flags.option({ options: ['shuffled', 'given'] as const })({
    default: 'shuffled',
    summary: 'answers are shown in an order drawn by seed, which is undone in the scores, or as they stand',
  }),
  'base-url': Flags.string({
    helpValue: 'URL',
    summary: 'server to ask, with its version part: http://host:8000/v1',
  }),
  'key-env': Flags.string({
    helpValue: 'NAME',
    summary: "environment variable that holds the key, instead of the provider's",
  }),
  'reward-api': Flags.option({ options: rewardApiNames })({
    summary: 'reward: what the server speaks; else it is asked',
  }),
  'reward-template': Flags.string({
    helpValue: 'DIR',
    summary: "reward: folder of the served model's tokenizer and chat template, for SGLang",
  }),
  quantize: modelFlags.quantize,
  'quantize-cache': modelFlags['quantize-cache'],
  temperature: numberFlag({ min: 0, helpValue: 'T', summary: "judge's temperature; default: the guide's" }),
  'top-p': numberFlag({ min: 0, max: 1, helpValue: 'P', summary: "judge's top-p; default: the guide's" }),
  'max-tokens': integerFlag({ min: 1, helpValue: 'N', summary: "longest reply; default: the guide's" }),
  'reasoning-tokens': integerFlag({
    min: 0,
    helpValue: 'N',
    summary: 'tokens on top for a model that reasons first; default: 8192 for those known to, else 0',
  }),
  'no-schema': Flags.boolean({ summary: 'ask for the form in words alone: for servers without JSON schemas' }),
  concurrency: integerFlag({
    min: 1,
    max: 4096,
    default: 16,
    helpValue: 'N',
    summary: `maximum concurrent requests; ${LOCAL_CALLS} for a local judge unless given`,
  }),
  rpm: numberFlag({ min: 0.001, helpValue: 'N', summary: 'requests a minute at most' }),
  tpm: numberFlag({ min: 1, helpValue: 'N', summary: 'tokens a minute at most' }),
  timeout: numberFlag({ min: 0.001, default: 120, helpValue: 'SECONDS', summary: 'longest time for one call' }),
  attempts: integerFlag({
    min: 1,
    default: 6,
    helpValue: 'N',
    summary: 'maximum attempts per request; a retry with a server-supplied delay counts a quarter',
  }),
  'max-wait': numberFlag({
    min: 0,
    default: 600,
    helpValue: 'SECONDS',
    summary: 'longest wait a server may ask for; one that asks for more stops the run',
  }),
  'max-cost': numberFlag({ min: 0, helpValue: 'USD', summary: 'stop before more than this could be spent' }),
  prices: Flags.string({
    helpValue: 'FILE',
    summary: 'prices as JSON: {"provider:model": {"input": USD per million tokens, "output": ...}}',
  }),
  'dry-run': Flags.boolean({ summary: 'ask nothing: print one row with the number of calls, tokens and the cost' }),
  cache: Flags.string({ helpValue: 'DIR', summary: 'folder of replies; default: vpref/annotate in the user cache' }),
  'no-cache': Flags.boolean({ exclusive: ['cache'], summary: 'neither read nor keep replies' }),
  log: Flags.string({
    helpValue: 'FILE',
    summary: 'append one row for each request sent: attempt, outcome, time, cost',
  }),
  batch: Flags.option({ options: ['submit', 'collect'] as const })({
    dependsOn: ['batch-dir'],
    summary: `${BATCH_PROVIDERS} at half price: hand the questions in, or collect the answers`,
  }),
  'batch-dir': Flags.string({ helpValue: 'DIR', summary: 'folder of the request and result files of a batch' }),
  ...recordFlags,
  'on-error': Flags.option({ options: ['fail', 'skip', 'keep'] as const })({
    default: 'keep',
    summary: 'a row that fails: stop, leave it out, or write it with its error',
  }),
};

type AnnotateFlags = Interfaces.InferredFlags<typeof annotateFlags>;

/** Of --summary; cost_usd is null where the judge's price is not known. */
export function annotateFigures(
  { judge, guide }: Pick<AnnotateSettings, 'judge' | 'guide'>,
  { rows: _rows, cost, mass, ...counts }: Tally,
): object {
  const meanMass = mass.n > 0 && { mean_mass: mass.sum / mass.n };
  return { judge, guide, ...counts, ...meanMass, cost_usd: cost ?? null };
}

/** What the flags ask for. */
export function annotateSettings(run: RunContext<AnnotateFlags, unknown>): AnnotateSettings {
  const { flags, stop } = run;
  checkRewardFlags(run);
  for (const name of ['quantize', 'quantize-cache'])
    if (run.given.has(name) && !computesHere(flags.judge))
      throw new UsageError(`--${name}: expected --judge local:DIR`);
  return {
    judge: flags.judge,
    guide: run.given.has('guide') ? flags.guide : (ownGuide(flags.judge) ?? flags.guide),
    claims: flags.claims,
    runs: flags.runs,
    seed: flags.seed,
    shuffle: flags.order === 'shuffled',
    overrides: {
      temperature: flags.temperature,
      topP: flags['top-p'],
      maxTokens: flags['max-tokens'],
      withoutSchema: flags['no-schema'],
    },
    judgeOptions: {
      baseUrl: flags['base-url'],
      keyVariable: flags['key-env'],
      reasoningTokens: flags['reasoning-tokens'],
      rewardApi: flags['reward-api'],
      rewardTemplate: flags['reward-template'],
      timeoutMs: flags.timeout * 1000,
      concurrency: callsAtATime(run),
      environment: process.env,
      warn: (message) => run.warn(message),
      openModel: (directory) => openJudgeModel(run, directory),
    },
    requestsPerMinute: flags.rpm,
    tokensPerMinute: flags.tpm,
    maxAttempts: flags.attempts,
    maxDelayMs: flags['max-wait'] * 1000,
    maxCost: flags['max-cost'],
    pricesFile: flags.prices,
    cache: flags['no-cache'] ? null : flags.cache,
    logFile: flags.log,
    batchFolder: flags.batch === undefined ? undefined : flags['batch-dir'],
    signal: stop,
  };
}

/** Flags of reward judges go with no other; a reward judge's server is in its name. */
function checkRewardFlags({ flags, given }: RunContext<AnnotateFlags, unknown>): void {
  const isReward = ownGuide(flags.judge) === 'reward';
  for (const name of ['reward-api', 'reward-template'])
    if (given.has(name) && !isReward) throw new UsageError(`--${name}: expected --judge reward:URL`);
  for (const name of ['base-url', 'reasoning-tokens', 'no-schema'])
    if (given.has(name) && isReward) throw new UsageError(`--${name}: expected none with --judge reward:URL`);
}

/** What our own engine is asked at a time it puts into its batches: more questions share what they begin with. */
function callsAtATime({ flags, given }: RunContext<AnnotateFlags, unknown>): number {
  return computesHere(flags.judge) && !given.has('concurrency') ? LOCAL_CALLS : flags.concurrency;
}

/** Loads the engine only for a judge that runs on it. */
async function openJudgeModel(run: RunContext<AnnotateFlags, unknown>, model: string) {
  const { MODEL_DEFAULTS, openModelOf } = await import('./model-flags.ts');
  const { quantize, 'quantize-cache': cache, threads } = run.flags;
  return openModelOf(run, { ...MODEL_DEFAULTS, model, quantize, 'quantize-cache': cache, threads });
}
