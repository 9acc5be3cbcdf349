// SPDX-License-Identifier: Apache-2.0
// The flags of annotate, and their conversion to settings.
import { Flags, type Interfaces } from '@oclif/core';
import { UsageError } from '../records/error.ts';
import type { AnnotateSettings } from '../stages/annotate/open.ts';
import { BATCH_PROVIDERS, computesHere, hasServer, JUDGE_FORMS, ownGuide } from '../stages/annotate/providers/index.ts';
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
  guide: Flags.string({ default: 'helpsteer', helpValue: 'NAME|FILE', summary: 'judge prompt and reply format' }),
  claims: Flags.string({
    helpValue: 'exec:CMD',
    summary: 'guide claims: command that splits responses into claims, instead of the judge',
  }),
  runs: integerFlag({ min: 1, default: 1, helpValue: 'N', summary: 'judge each record N times; one entry per run' }),
  order: Flags.option({ options: ['shuffled', 'given'] as const })({
    default: 'shuffled',
    summary:
      'order in which the judge sees the responses: shuffled by --seed, or as given; scores keep the order of the record',
  }),
  'base-url': Flags.string({
    helpValue: 'URL',
    summary: 'URL of the API server, with its version: http://host:8000/v1',
  }),
  'key-env': Flags.string({
    helpValue: 'NAME',
    summary: "environment variable with the API key; default: the provider's",
  }),
  'reward-api': Flags.option({ options: rewardApiNames })({
    summary: "reward: the server's API; default: detected",
  }),
  'reward-template': Flags.string({
    helpValue: 'DIR',
    summary: "reward: directory with the served model's tokenizer and chat template, for SGLang",
  }),
  quantize: modelFlags.quantize,
  'quantize-cache': modelFlags['quantize-cache'],
  temperature: numberFlag({
    min: 0,
    helpValue: 'T',
    summary: "sampling temperature of the judge; default: the guide's",
  }),
  'top-p': numberFlag({ min: 0, max: 1, helpValue: 'P', summary: "top-p of the judge; default: the guide's" }),
  'max-tokens': integerFlag({ min: 1, helpValue: 'N', summary: "maximum tokens per reply; default: the guide's" }),
  'reasoning-tokens': integerFlag({
    min: 0,
    helpValue: 'N',
    summary: 'extra tokens for reasoning; default: 8192 for known reasoning models, else 0',
  }),
  'no-schema': Flags.boolean({
    summary: 'send no JSON schema, for servers without support; the prompt alone asks for the format',
  }),
  concurrency: integerFlag({
    min: 1,
    max: 4096,
    default: 16,
    helpValue: 'N',
    summary: `maximum concurrent requests; for a local judge the default is ${LOCAL_CALLS}`,
  }),
  rpm: numberFlag({ min: 0.001, helpValue: 'N', summary: 'maximum requests per minute' }),
  tpm: numberFlag({ min: 1, helpValue: 'N', summary: 'maximum tokens per minute' }),
  timeout: numberFlag({ min: 0.001, default: 120, helpValue: 'SECONDS', summary: 'timeout per request' }),
  attempts: integerFlag({
    min: 1,
    default: 6,
    helpValue: 'N',
    summary: 'maximum attempts per request; a retry with a server-supplied delay counts as a quarter',
  }),
  'max-wait': numberFlag({
    min: 0,
    default: 600,
    helpValue: 'SECONDS',
    summary: 'maximum delay that a server may ask for; a longer one stops the run',
  }),
  'max-cost': numberFlag({
    min: 0,
    helpValue: 'USD',
    summary: 'maximum cost; stop before a request that could exceed it',
  }),
  prices: Flags.string({
    helpValue: 'FILE',
    summary: 'prices as JSON: {"provider:model": {"input": USD per million tokens, "output": ...}}',
  }),
  'dry-run': Flags.boolean({ summary: 'send nothing; print one row with the number of requests, tokens and the cost' }),
  cache: Flags.string({
    helpValue: 'DIR',
    summary: 'directory of cached replies; default: vpref/annotate in the user cache',
  }),
  'no-cache': Flags.boolean({ exclusive: ['cache'], summary: 'do not cache replies' }),
  log: Flags.string({
    helpValue: 'FILE',
    summary: 'append one row per request sent: attempt, outcome, time, cost',
  }),
  batch: Flags.option({ options: ['submit', 'collect'] as const })({
    dependsOn: ['batch-dir'],
    summary: `${BATCH_PROVIDERS} at half price: submit the requests, or collect the replies`,
  }),
  'batch-dir': Flags.string({ helpValue: 'DIR', summary: 'directory of the request and result files of a batch' }),
  ...recordFlags,
  'on-error': Flags.option({ options: ['fail', 'skip', 'keep'] as const })({
    default: 'keep',
    summary: 'on a record that fails: stop, drop it, or write it with its error',
  }),
};

type AnnotateFlags = Interfaces.InferredFlags<typeof annotateFlags>;

/** Members of --summary; cost_usd is null if the judge's price is unknown. */
export function annotateFigures(
  { judge, guide }: Pick<AnnotateSettings, 'judge' | 'guide'>,
  { rows: _rows, cost, mass, ...counts }: Tally,
): object {
  const meanMass = mass.n > 0 && { mean_mass: mass.sum / mass.n };
  return { judge, guide, ...counts, ...meanMass, cost_usd: cost ?? null };
}

/** The settings from the flags. */
export function annotateSettings(run: RunContext<AnnotateFlags, unknown>): AnnotateSettings {
  const { flags, stop } = run;
  checkJudgeFlags(run);
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

/** Throws UsageError for a flag that this judge does not use. A reward judge's server is in its name. */
function checkJudgeFlags({ flags, given }: RunContext<AnnotateFlags, unknown>): void {
  const isReward = ownGuide(flags.judge) === 'reward';
  for (const name of ['reward-api', 'reward-template'])
    if (given.has(name) && !isReward) throw new UsageError(`--${name}: expected --judge reward:URL`);
  for (const name of ['base-url', 'reasoning-tokens', 'no-schema'])
    if (given.has(name) && isReward) throw new UsageError(`--${name}: expected none with --judge reward:URL`);
  for (const name of ['base-url', 'key-env', 'reasoning-tokens'])
    if (given.has(name) && !hasServer(flags.judge))
      throw new UsageError(`--${name}: expected a judge at a server, got ${flags.judge}`);
  if (given.has('batch-dir') && flags.batch === undefined)
    throw new UsageError('--batch-dir: expected --batch submit or --batch collect with it');
}

/** Maximum concurrent requests. The engine batches them, and more concurrent questions share a prefix. */
function callsAtATime({ flags, given }: RunContext<AnnotateFlags, unknown>): number {
  return computesHere(flags.judge) && !given.has('concurrency') ? LOCAL_CALLS : flags.concurrency;
}

/** Loads the engine only for a judge that runs on it. */
async function openJudgeModel(run: RunContext<AnnotateFlags, unknown>, model: string) {
  const { MODEL_DEFAULTS, openModelOf } = await import('./model-flags.ts');
  const { quantize, 'quantize-cache': cache, threads } = run.flags;
  return openModelOf(run, { ...MODEL_DEFAULTS, model, quantize, 'quantize-cache': cache, threads });
}
