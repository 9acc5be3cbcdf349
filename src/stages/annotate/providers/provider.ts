// SPDX-License-Identifier: Apache-2.0
// The interface of a provider of judges. To add one: a file that exports its Provider, and its line in list.ts.
import type { OpenModel } from '../../../model/load.ts';
import type { BatchApi } from '../batch/api.ts';
import type { Price } from '../cost.ts';
import type { Judge } from '../judge.ts';
import type { JudgeApi, JudgeApiOptions } from './http-judge.ts';
import type { RewardApiName } from './reward-apis.ts';

/** A model in memory, which the run closes. */
export type LoadedModel = Pick<OpenModel, 'context'>;

/** Options of a judge, and what opening one needs from the run. */
export interface JudgeOptions {
  baseUrl?: string | undefined;
  /** Name of the environment variable that holds the key, instead of the provider's own. */
  keyVariable?: string | undefined;
  reasoningTokens?: number | undefined;
  /** reward: what the server speaks, and where the served model's chat template is. */
  rewardApi?: RewardApiName | undefined;
  rewardTemplate?: string | undefined;
  timeoutMs: number;
  concurrency: number;
  environment: Record<string, string | undefined>;
  /** Nothing will be asked, so no key is needed. */
  isSurvey?: boolean;
  warn(message: string): void;
  /** Loads a model directory, for judges that compute here. */
  openModel(directory: string): Promise<LoadedModel>;
}

/** A provider behind an HTTP API. How its servers limit calls and what each model takes are read from their replies and names (src/http). */
export interface HttpProvider {
  operand: 'MODEL';
  /** Environment variables that may hold the key, the first that is set. */
  keyVariables: readonly string[];
  /** List prices by model, each for that name and its dated forms, as the provider gave them at the end of 2025; --prices FILE overrides them. */
  prices: Readonly<Record<string, Price>>;
  api(options: JudgeApiOptions): JudgeApi;
  /** Its batch mode, where we speak it. */
  batch?(api: JudgeApi): BatchApi;
}

/** A judge of the user's own, which costs nothing. */
export interface OwnProvider {
  /** What --judge takes after the colon. */
  operand: string;
  /** It runs on the engine in this process. */
  computesHere?: boolean;
  /** The guide that it is asked by, and no other. */
  guide?: string;
  /** `operand` is what the user wrote. */
  open(operand: string, options: JudgeOptions): Promise<Judge>;
}

export type Provider = HttpProvider | OwnProvider;
