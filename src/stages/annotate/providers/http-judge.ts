// SPDX-License-Identifier: Apache-2.0
// A judge behind an HTTP API: its request body and the reading of its replies are pure functions; sending is shared.
import { type Attempt, withoutSecrets } from '../../../http/attempt.ts';
import type { HttpClient, HttpReply } from '../../../http/client.ts';
import { type ImageLimits, type ImagePart, loadImagePart } from '../../../http/image-part.ts';
import type { Judge, JudgeRequest } from '../judge.ts';

/** One API in pure functions; the batch modes use the same ones. */
export interface JudgeApi {
  provider: 'gemini' | 'openai' | 'anthropic';
  model: string;
  baseUrl: string;
  url: string;
  headers: Record<string, string>;
  imageLimits: ImageLimits;
  imageTokens(width: number, height: number): number;
  reasoningTokens: number;
  hasFixedTemperature: boolean;
  body(request: JudgeRequest, images: ImagePart[]): Record<string, unknown>;
  read(reply: HttpReply): Attempt;
}

/** What a user may set for an API. */
export interface JudgeApiOptions {
  model: string;
  baseUrl?: string | undefined;
  /** Absent for local servers that want none. */
  key?: string | undefined;
  /** Tokens on top of a reply's own for models that reason first. */
  reasoningTokens?: number | undefined;
}

/** The judge that asks this API. Closes the client with itself. */
export function httpJudge(api: JudgeApi, client: HttpClient): Judge {
  return {
    name: `${api.provider}:${api.model}`,
    identity: { provider: api.provider, model: api.model, base_url: api.baseUrl },
    imageLimits: api.imageLimits,
    imageTokens: api.imageTokens,
    reasoningTokens: api.reasoningTokens,
    hasFixedTemperature: api.hasFixedTemperature,
    ask: async (request, signal) => {
      const body = JSON.stringify(await apiBody(api, request));
      const headers = { 'content-type': 'application/json', ...api.headers };
      const secrets = Object.values(api.headers).map((value) => value.replace(/^Bearer /, ''));
      return withoutSecrets(api.read(await client.send({ url: api.url, headers, body, signal })), secrets);
    },
    close: () => client.close(),
  };
}

/** The request's body with its images read and encoded. */
export async function apiBody(api: JudgeApi, request: JudgeRequest): Promise<Record<string, unknown>> {
  const images = await Promise.all(
    request.images.map((image, index) => loadImagePart(image, api.imageLimits, `images[${index}]`)),
  );
  return api.body(request, images);
}

/** A base URL without its closing slash. */
export function trimSlash(url: string): string {
  return url.replace(/\/+$/, '');
}
