// SPDX-License-Identifier: Apache-2.0
// Opens judges by name: PROVIDER:REST, as the user writes it.
import { openHttpClient } from '../../../http/client.ts';
import { UsageError } from '../../../records/error.ts';
import { type ServerUrl, splitLogin, withoutLogins } from '../../../records/server-url.ts';
import type { Judge } from '../judge.ts';
import { httpJudge, type JudgeApi } from './http-judge.ts';
import * as list from './list.ts';
import type { HttpProvider, JudgeOptions, Provider } from './provider.ts';

const PROVIDERS: Readonly<Record<string, Provider>> = list;

/** "anthropic:MODEL, exec:CMD, ... or reward:URL". */
export const JUDGE_FORMS = listOf(
  Object.entries(PROVIDERS).map(([name, { operand }]) => `${name}:${operand}`),
  'or',
);

/** "gemini and openai": the providers with a batch mode. */
export const BATCH_PROVIDERS = listOf(
  Object.entries(PROVIDERS).flatMap(([name, provider]) => ('batch' in provider ? [name] : [])),
  'and',
);

function listOf(names: readonly string[], last: string): string {
  return `${names.slice(0, -1).join(', ')} ${last} ${names.at(-1)}`;
}

/** A judge's name in its parts. */
export interface JudgeSpec {
  name: string;
  provider: Provider;
  /** Model, directory or command. */
  operand: string;
}

/** Throws UsageError if the text names no judge. */
export function parseJudge(spec: string): JudgeSpec {
  const colon = spec.indexOf(':');
  const name = spec.slice(0, Math.max(0, colon));
  const operand = spec.slice(colon + 1);
  if (!Object.hasOwn(PROVIDERS, name) || operand.trim() === '')
    throw new UsageError(`--judge: expected ${JUDGE_FORMS}, got ${JSON.stringify(spec)}`);
  return { name, provider: PROVIDERS[name]!, operand };
}

/** Whether the judge runs on this process's engine. */
export function computesHere(spec: string): boolean {
  const { provider } = parseJudge(spec);
  return 'computesHere' in provider && provider.computesHere === true;
}

/** Whether the judge answers requests over HTTP. */
export function hasServer(spec: string): boolean {
  const { provider } = parseJudge(spec);
  return 'api' in provider || ('hasServer' in provider && provider.hasServer === true);
}

/** The default guide of this judge; undefined: the general default. */
export function ownGuide(spec: string): string | undefined {
  const { provider } = parseJudge(spec);
  return 'guide' in provider ? provider.guide : undefined;
}

/** Opens the judge of this name. Throws UsageError for an invalid name or a missing key. */
export async function openJudge(spec: string, options: JudgeOptions): Promise<Judge> {
  const { name, provider, operand } = parseJudge(spec);
  if ('open' in provider) return provider.open(operand, options);
  const api = openApi(provider, operand, options);
  const client = await openHttpClient({ timeoutMs: options.timeoutMs, connections: options.concurrency });
  return httpJudge(name, api, client, options.warn);
}

/** A provider's API and its batch mode, for batch runs. Throws UsageError if there is no supported one. */
export function openBatchApi(spec: string, options: JudgeOptions) {
  const { name, provider, operand } = parseJudge(spec);
  if (!('api' in provider)) throw new UsageError(`--judge: expected a judge with an HTTP API, got ${name}`);
  const api = openApi(provider, operand, options);
  if (provider.batch === undefined) throw new UsageError(`--batch: ${name} is not supported; ${BATCH_PROVIDERS} are`);
  return { api, batch: provider.batch(api) };
}

function openApi(provider: HttpProvider, model: string, options: JudgeOptions): JudgeApi {
  const { baseUrl, reasoningTokens } = options;
  const server = baseUrl === undefined ? undefined : readBaseUrl(baseUrl);
  const key = findKey(provider.keyVariables, options);
  const api = provider.api({ model, baseUrl: server?.url, key, reasoningTokens });
  const { authorization } = server?.login ?? {};
  if (authorization === undefined) return api;
  if (api.headers.authorization !== undefined)
    throw new UsageError('--base-url: expected no login in the URL with a key, both set the authorization header');
  return { ...api, headers: { ...api.headers, authorization } };
}

function readBaseUrl(text: string): ServerUrl {
  const server = splitLogin(text);
  if (server !== undefined) return server;
  throw new UsageError(`--base-url: expected http://... or https://..., got ${JSON.stringify(withoutLogins(text))}`);
}

/** The key from the environment. A local server may need none. */
function findKey(
  variables: readonly string[],
  options: Pick<JudgeOptions, 'keyVariable' | 'environment' | 'baseUrl' | 'isSurvey'>,
) {
  const names = options.keyVariable === undefined ? variables : [options.keyVariable];
  const key = names.map((name) => options.environment[name]?.trim()).find((value) => value);
  const needsKey = !options.isSurvey && (options.baseUrl === undefined || options.keyVariable !== undefined);
  if (key === undefined && needsKey) {
    throw new UsageError(`no key: set the environment variable ${names.join(' or ')}`);
  }
  if (key !== undefined && !/^[\x21-\x7e]+$/.test(key)) {
    throw new UsageError('the key in the environment has characters that are not allowed in a header');
  }
  return key;
}
