// SPDX-License-Identifier: Apache-2.0
// A judge behind an HTTP API. Building requests and reading replies are pure functions; sending is shared.
import { type Attempt, cutAtStop, withoutSecrets } from '../../../http/attempt.ts';
import type { HttpClient, HttpReply } from '../../../http/client.ts';
import { type ImageLimits, type ImagePart, loadImageParts } from '../../../http/image-part.ts';
import type { ModelInfo } from '../../../http/model-info.ts';
import { RefusedParameters } from '../../../http/refused-parameters.ts';
import { headerSecrets, versionHint } from '../../../records/server-url.ts';
import type { Judge, JudgeRequest } from '../judge.ts';

/** One API in pure functions; the batch modes use the same ones. */
export interface JudgeApi {
  model: string;
  baseUrl: string;
  url: string;
  headers: Record<string, string>;
  imageLimits: ImageLimits;
  imageTokens(width: number, height: number): number;
  reasoningTokens: number;
  info: ModelInfo;
  body(request: JudgeRequest, images: ImagePart[]): Record<string, unknown>;
  read(reply: HttpReply): Attempt;
}

/** User settings of an API. */
export interface JudgeApiOptions {
  model: string;
  baseUrl?: string | undefined;
  /** Absent for local servers without a key. */
  key?: string | undefined;
  /** Additional tokens for models that reason first. */
  reasoningTokens?: number | undefined;
}

/** The judge that asks this API. Closing it closes the client. `warn` is called for parameters that the server refuses. */
export function httpJudge(provider: string, api: JudgeApi, client: HttpClient, warn: (message: string) => void): Judge {
  const name = `${provider}:${api.model}`;
  const refused = new RefusedParameters((message) => warn(`${name}: ${message}`));
  const headers = { 'content-type': 'application/json', ...api.headers };
  const secrets = headerSecrets(api.headers);
  return {
    name,
    identity: { provider, model: api.model, base_url: api.baseUrl },
    imageLimits: api.imageLimits,
    imageTokens: api.imageTokens,
    reasoningTokens: api.reasoningTokens,
    info: api.info,
    ask: async (request, signal) => {
      const sent = refused.apply(await apiBody(api, request));
      const reply = await client.send({ url: api.url, headers, body: JSON.stringify(sent), signal });
      const read = withoutSecrets(api.read(reply), secrets);
      if (reply.status === 404) read.message += versionHint(api.baseUrl, '--base-url');
      const attempt = refused.learn(read, reply, sent);
      return sendsStop(sent) ? attempt : cutAtStop(attempt, request.parameters.stop);
    },
    close: () => client.close(),
  };
}

/** The request's body with its images read and encoded. */
export async function apiBody(api: JudgeApi, request: JudgeRequest): Promise<Record<string, unknown>> {
  return api.body(request, await loadImageParts(request.images, api.imageLimits));
}

function sendsStop(body: Record<string, unknown>): boolean {
  const config = (body.generationConfig ?? {}) as Record<string, unknown>;
  return [body.stop, body.stop_sequences, config.stopSequences].some((stop) => stop !== undefined);
}

/** A base URL without its closing slash. */
export function trimSlash(url: string): string {
  return url.replace(/\/+$/, '');
}
