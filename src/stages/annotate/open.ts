// SPDX-License-Identifier: Apache-2.0
// Opens a run from the user's settings: judge, guide, cache, flow, budget. annotate asks the judge, surveys what it
// would ask (--dry-run), or submits the questions as a batch.
import { appendFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import type { Row, Stage } from '../../flow/stage.ts';
import { type HttpClient, openHttpClient } from '../../http/client.ts';
import { type Clock, FlowControl, monotonicClock } from '../../http/flow.ts';
import { RunError, UsageError } from '../../records/error.ts';
import { BATCH_PRICE_FACTOR, collectedJudge, submitBatch } from './batch/index.ts';
import { folderCache, noCache } from './cache.ts';
import { Budget, judgePrice, loadPrices, type Price } from './cost.ts';
import { type Guide, loadGuide } from './guide.ts';
import { annotate } from './index.ts';
import type { Judge } from './judge.ts';
import { openBatchApi, openJudge } from './providers/index.ts';
import type { JudgeOptions } from './providers/provider.ts';
import { type QuestionOverrides, readyGuide } from './question.ts';
import { type QuestionSource, surveyRun } from './survey.ts';
import { newTally, type Tally } from './tally.ts';

export interface AnnotateSettings {
  /** PROVIDER:REST. */
  judge: string;
  judgeOptions: JudgeOptions;
  /** Name or file. */
  guide: string;
  /** exec:CMD that splits responses into claims, instead of the judge. */
  claims?: string | undefined;
  runs: number;
  seed: number;
  shuffle: boolean;
  overrides: QuestionOverrides;
  requestsPerMinute?: number | undefined;
  tokensPerMinute?: number | undefined;
  maxAttempts: number;
  maxDelayMs: number;
  /** US dollars. */
  maxCost?: number | undefined;
  pricesFile?: string | undefined;
  /** Folder; null: no cache; undefined: the user's default folder. */
  cache: string | null | undefined;
  logFile?: string | undefined;
  /** Folder of a batch to submit or to collect. */
  batchFolder?: string | undefined;
  signal?: AbortSignal | undefined;
  clock?: Clock | undefined;
}

/** Unfinished rows per concurrent call: enough that no call waits while a row is prepared. */
const ROWS_PER_CALL = 4;

/** The stage; with a batch folder, replies come from the batch's results. `tally` counts the outcomes. */
export async function openAnnotate(settings: AnnotateSettings): Promise<{ stage: Stage; tally: Tally }> {
  const { seed, runs, shuffle, overrides, signal, judgeOptions, clock = monotonicClock } = settings;
  const price = runPrice(settings);
  if (settings.maxCost !== undefined && price === undefined) {
    throw new UsageError(`--max-cost: no price is known for ${settings.judge}: give --prices FILE`);
  }
  const { judge: live, ready, cache } = await openSource(settings);
  const judge = settings.batchFolder === undefined ? live : await openCollected(settings, live);
  const tally = newTally(price !== undefined);
  const { requestsPerMinute, tokensPerMinute, maxAttempts, maxDelayMs } = settings;
  const { concurrency } = judgeOptions;
  const stage = annotate({
    ...{ ready, runs, seed, shuffle, overrides, signal },
    splitter: await openSplitter(settings, ready.guide),
    window: concurrency * ROWS_PER_CALL,
    asking: {
      ...{ judge, cache, price, tally, maxAttempts, maxDelayMs, seed },
      flow: new FlowControl({ concurrency, requestsPerMinute, tokensPerMinute }, clock),
      clock,
      budget: new Budget(settings.maxCost ?? Number.POSITIVE_INFINITY),
      repair: settings.batchFolder === undefined,
      log: settings.logFile === undefined ? undefined : logTo(settings.logFile),
    },
  });
  return { stage, tally };
}

async function openSplitter({ claims, judgeOptions }: AnnotateSettings, guide: Guide): Promise<Judge | undefined> {
  if (claims === undefined) return undefined;
  if (!guide.claims) throw new UsageError(`--claims: expected a guide with claims: true, got guide ${guide.name}`);
  if (!claims.startsWith('exec:')) throw new UsageError(`--claims: expected exec:CMD, got ${JSON.stringify(claims)}`);
  return openJudge(claims, judgeOptions);
}

/** One row: the questions of a run over these rows, and their maximum cost. */
export async function* surveyAnnotate(rows: AsyncIterable<Row>, settings: AnnotateSettings): AsyncGenerator<object> {
  if (loadGuide(settings.guide).claims)
    throw new UsageError('--dry-run: the number of claims is known only after the responses are split');
  const source = await openSource({ ...settings, judgeOptions: { ...settings.judgeOptions, isSurvey: true } });
  const price = runPrice(settings);
  if (price === undefined) settings.judgeOptions.warn(`no price is known for ${settings.judge}: give --prices FILE`);
  yield await surveyRun(rows, source, price);
  await source.judge.close();
}

/** Writes and submits the questions of these rows; one row per request file. */
export async function* submitAnnotate(rows: AsyncIterable<Row>, settings: AnnotateSettings): AsyncGenerator<object> {
  const api = openBatchApi(settings.judge, settings.judgeOptions);
  const source = await openSource(settings);
  const client = await openHttpClient({ timeoutMs: settings.judgeOptions.timeoutMs });
  try {
    yield* submitBatch(rows, { ...source, folder: settings.batchFolder!, ...api, client });
  } finally {
    await client.close();
    await source.judge.close();
  }
}

async function openSource(settings: AnnotateSettings): Promise<QuestionSource> {
  const { runs, seed, shuffle, overrides, judgeOptions } = settings;
  const ready = await readyGuide(loadGuide(settings.guide));
  const judge = await openJudge(settings.judge, judgeOptions);
  checkUndrawn(ready.guide, judge, settings);
  checkSampling(judge, overrides);
  const leftOut = leftOutOfGuide(ready.guide, judge, overrides);
  if (leftOut.length > 0)
    judgeOptions.warn(
      `${leftOut.join(' and ')} of guide ${ready.guide.name} not sent to ${judge.name}: this model family uses its own`,
    );
  const folder = settings.cache === undefined ? userCache(judgeOptions.environment) : settings.cache;
  const cache = folder === null ? noCache : folderCache(folder);
  return { ready, judge, cache, runs, seed, shuffle, overrides, onBadRow: judgeOptions.warn };
}

/** Replies that are not text are deterministic, and only some judges support them. */
function checkUndrawn({ name, reply, claims }: Guide, judge: Judge, settings: AnnotateSettings): void {
  if ((reply === 'reward') !== (judge.scoresDialogues === true))
    throw new UsageError(`--guide ${name}: guide reward and --judge reward:URL need each other, got ${judge.name}`);
  if (reply !== 'probability' && reply !== 'reward') return;
  if (reply === 'probability' && judge.readsProbabilities !== true)
    throw new UsageError(`--guide ${name}: asks for probabilities: expected --judge local:DIR, got ${judge.name}`);
  const { runs, overrides } = settings;
  if (runs > 1) throw new UsageError(`--runs: expected 1 with guide ${name} (its scores are the same each time)`);
  const drawn = {
    '--temperature': overrides.temperature,
    '--top-p': overrides.topP,
    '--max-tokens': overrides.maxTokens,
  };
  for (const [flag, value] of Object.entries(drawn))
    if (value !== undefined && !claims)
      throw new UsageError(`${flag}: expected none with guide ${name}, which draws no text`);
}

/** Refuses two user settings of which the model accepts only one. */
function checkSampling({ name, info }: Judge, { temperature, topP }: QuestionOverrides): void {
  if (temperature !== undefined && topP !== undefined && !info.temperatureWithTopP)
    throw new UsageError(`--top-p: expected no --temperature with it, ${name} accepts only one of them`);
}

/** Guide settings that are not sent to the model. Stop texts are not among them: replies are cut locally. */
function leftOutOfGuide(guide: Guide, { info }: Judge, overrides: QuestionOverrides): string[] {
  const isOut = (own: number | undefined, value: number | undefined, takes: boolean) =>
    own === undefined && value !== undefined && !takes;
  return [
    ...(isOut(overrides.temperature, guide.temperature, info.temperature) ? ['temperature'] : []),
    // A top-p of 1 restricts nothing.
    ...(guide.topP !== 1 && isOut(overrides.topP, guide.topP, info.topP) ? ['top_p'] : []),
  ];
}

async function openCollected(settings: AnnotateSettings, judge: Judge): Promise<Judge> {
  const { judgeOptions } = settings;
  const { batch } = openBatchApi(settings.judge, judgeOptions);
  const client: HttpClient = await openHttpClient({ timeoutMs: judgeOptions.timeoutMs });
  const guide = loadGuide(settings.guide).name;
  return collectedJudge({ folder: settings.batchFolder!, batch, judge, guide, client, warn: judgeOptions.warn });
}

/** The default cache folder. */
export function userCache(environment: JudgeOptions['environment']): string {
  return join(environment.XDG_CACHE_HOME || join(homedir(), '.cache'), 'vpref', 'annotate');
}

function runPrice({ judge, pricesFile, batchFolder }: AnnotateSettings): Price | undefined {
  const price = judgePrice(judge, pricesFile === undefined ? {} : loadPrices(pricesFile));
  if (price === undefined || batchFolder === undefined) return price;
  return { input: price.input * BATCH_PRICE_FACTOR, output: price.output * BATCH_PRICE_FACTOR };
}

/** Appends one line per request. Lines stay whole when several processes share the file. */
function logTo(file: string): (entry: Record<string, unknown>) => void {
  return (entry) => {
    try {
      appendFileSync(file, `${JSON.stringify(entry)}\n`);
    } catch (cause) {
      throw new RunError('log', `--log: ${(cause as Error).message}`, { cause });
    }
  };
}
