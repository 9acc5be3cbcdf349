// SPDX-License-Identifier: Apache-2.0
// The interface of a provider of judges. To add one: a file that exports its Provider, and its line in list.ts.
import type { OpenModel } from '../../../model/load.ts';
import type { BatchApi } from '../batch/api.ts';
import type { Price } from '../cost.ts';
import type { Judge } from '../judge.ts';
import type { JudgeApi, JudgeApiOptions } from './http-judge.ts';
import type { RewardApiName } from './reward-apis.ts';

/** A model in memory. The run closes it. */
export type LoadedModel = Pick<OpenModel, 'context'>;

/** Options of a judge, and what its opening needs from the run. */
export interface JudgeOptions {
  baseUrl?: string | undefined;
  /** Name of the environment variable with the key, instead of the provider's default. */
  keyVariable?: string | undefined;
  reasoningTokens?: number | undefined;
  /** reward: the server's API, and the directory with the served model's chat template. */
  rewardApi?: RewardApiName | undefined;
  rewardTemplate?: string | undefined;
  timeoutMs: number;
  concurrency: number;
  environment: Record<string, string | undefined>;
  /** The run sends nothing, so no key is needed. */
  isSurvey?: boolean;
  warn(message: string): void;
  /** Loads a model directory, for local judges. */
  openModel(directory: string): Promise<LoadedModel>;
}

/** A provider behind an HTTP API. Rate limits and accepted parameters are derived from replies and model names (src/http). */
export interface HttpProvider {
  operand: 'MODEL';
  /** Environment variables for the key; the first that is set counts. */
  keyVariables: readonly string[];
  /** List prices by model name, dated versions included, as of the end of 2025; --prices FILE overrides them. */
  prices: Readonly<Record<string, Price>>;
  api(options: JudgeApiOptions): JudgeApi;
  /** Its batch mode, if supported. */
  batch?(api: JudgeApi): BatchApi;
}

/** A judge that costs nothing to call. */
export interface OwnProvider {
  /** The part of --judge after the colon. */
  operand: string;
  /** Runs on the engine in this process. */
  computesHere?: boolean;
  /** Sends requests to a server. */
  hasServer?: boolean;
  /** The only guide that works with this judge. */
  guide?: string;
  /** `operand`: the user's text. */
  open(operand: string, options: JudgeOptions): Promise<Judge>;
}

export type Provider = HttpProvider | OwnProvider;
