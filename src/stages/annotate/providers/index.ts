// SPDX-License-Identifier: Apache-2.0
// Judges by name: PROVIDER:REST as the user writes it.
import { openHttpClient } from '../../../http/client.ts';
import { UsageError } from '../../../records/error.ts';
import { type ServerUrl, splitLogin, withoutLogins } from '../../../records/server-url.ts';
import type { Judge } from '../judge.ts';
import { ANTHROPIC_BASE_URL, anthropicApi } from './anthropic.ts';
import { execJudge } from './exec.ts';
import { GEMINI_BASE_URL, geminiApi } from './gemini.ts';
import { httpJudge, type JudgeApi, type JudgeApiOptions } from './http-judge.ts';
import { type LocalJudge, localJudge } from './local.ts';
import { openaiApi } from './openai.ts';

export interface JudgeOptions {
  baseUrl?: string | undefined;
  /** Name of the environment variable that holds the key, instead of the provider's own. */
  keyVariable?: string | undefined;
  reasoningTokens?: number | undefined;
  timeoutMs: number;
  concurrency: number;
  environment: Record<string, string | undefined>;
  /** Nothing will be asked, so no key is needed. */
  isSurvey?: boolean;
  warn(message: string): void;
  /** Loads a model directory for `local:`. */
  openLocal(directory: string): Promise<LocalJudge>;
}

const HTTP_PROVIDERS: Record<
  string,
  { open(options: JudgeApiOptions): JudgeApi; keyVariables: string[]; baseUrl?: string }
> = {
  gemini: { open: geminiApi, keyVariables: ['GEMINI_API_KEY', 'GOOGLE_API_KEY'], baseUrl: GEMINI_BASE_URL },
  openai: { open: openaiApi, keyVariables: ['OPENAI_API_KEY'] },
  anthropic: { open: anthropicApi, keyVariables: ['ANTHROPIC_API_KEY'], baseUrl: ANTHROPIC_BASE_URL },
};

/** Opens the judge of this name. Throws UsageError for what cannot be one, and for a missing key. */
export async function openJudge(spec: string, options: JudgeOptions): Promise<Judge> {
  const { provider, rest } = splitSpec(spec);
  if (provider === 'exec') return execJudge(rest, options);
  if (provider === 'local') return localJudge(spec, await options.openLocal(rest));
  const api = openJudgeApi(spec, options);
  const client = await openHttpClient({ timeoutMs: options.timeoutMs, connections: options.concurrency });
  return httpJudge(api, client, options.warn);
}

/** The HTTP API of this name; batch modes use it without a judge. */
export function openJudgeApi(spec: string, options: Omit<JudgeOptions, 'openLocal' | 'warn'>): JudgeApi {
  const { provider, rest } = splitSpec(spec);
  const known = HTTP_PROVIDERS[provider];
  if (known === undefined) throw new UsageError(`--judge: ${provider}: is no HTTP API`);
  const { baseUrl, reasoningTokens } = options;
  const server = baseUrl === undefined ? undefined : readBaseUrl(baseUrl);
  const key = findKey(known.keyVariables, options);
  const api = known.open({ model: rest, baseUrl: server?.url, key, reasoningTokens });
  const { authorization } = server?.login ?? {};
  if (authorization === undefined) return api;
  if (api.headers.authorization !== undefined)
    throw new UsageError('--base-url: expected no login in the URL beside a key, both go into one header');
  return { ...api, headers: { ...api.headers, authorization } };
}

function splitSpec(spec: string): { provider: string; rest: string } {
  const colon = spec.indexOf(':');
  const provider = spec.slice(0, Math.max(0, colon));
  const rest = spec.slice(colon + 1);
  const isKnown = provider === 'exec' || provider === 'local' || Object.hasOwn(HTTP_PROVIDERS, provider);
  if (!isKnown || rest.trim() === '') {
    const forms = 'gemini:MODEL, openai:MODEL, anthropic:MODEL, local:DIR or exec:CMD';
    throw new UsageError(`--judge: expected ${forms}, got ${JSON.stringify(spec)}`);
  }
  return { provider, rest };
}

function readBaseUrl(text: string): ServerUrl {
  const server = splitLogin(text);
  if (server !== undefined) return server;
  throw new UsageError(`--base-url: expected http://... or https://..., got ${JSON.stringify(withoutLogins(text))}`);
}

/** The key from the environment. A server of the user's own may need none. */
function findKey(
  variables: string[],
  options: Pick<JudgeOptions, 'keyVariable' | 'environment' | 'baseUrl' | 'isSurvey'>,
) {
  const names = options.keyVariable === undefined ? variables : [options.keyVariable];
  const key = names.map((name) => options.environment[name]?.trim()).find((value) => value);
  const needsKey = !options.isSurvey && (options.baseUrl === undefined || options.keyVariable !== undefined);
  if (key === undefined && needsKey) {
    throw new UsageError(`no key: set the environment variable ${names.join(' or ')}`);
  }
  if (key !== undefined && !/^[\x21-\x7e]+$/.test(key)) {
    throw new UsageError('the key in the environment holds characters that no header can carry');
  }
  return key;
}
