// SPDX-License-Identifier: Apache-2.0
// Gemini, REST: POST {base}/models/{model}:generateContent. It reports many errors with status 200.
import { type Attempt, failed, isTransientStatus, readUsage, type Usage } from '../../../http/attempt.ts';
import { failureMessage, fieldsOf, type JsonFields, notJson, parseJson } from '../../../http/chat.ts';
import type { HttpReply } from '../../../http/client.ts';
import type { ImagePart } from '../../../http/image-part.ts';
import { modelInfo } from '../../../http/model-info.ts';
import { headerValue, serverDelayMs } from '../../../http/server-delay.ts';
import { RunError } from '../../../records/error.ts';
import { isObject } from '../../../records/field.ts';
import { type BatchApi, type BatchStatus, batchCall, stringField } from '../batch/api.ts';
import { type JudgeRequest, turnParts } from '../judge.ts';
import { toGeminiSchema } from '../schema.ts';
import { type JudgeApi, type JudgeApiOptions, trimSlash } from './http-judge.ts';
import type { HttpProvider } from './provider.ts';

const BASE_URL = 'https://generativelanguage.googleapis.com/v1beta';

/** The Gemini API as a judge. */
export function geminiApi(options: JudgeApiOptions): JudgeApi {
  const baseUrl = trimSlash(options.baseUrl ?? BASE_URL);
  const { model } = options;
  const info = modelInfo(model);
  const reasoningTokens = options.reasoningTokens ?? info.reasoningTokens;
  return {
    model,
    baseUrl,
    url: `${baseUrl}/models/${encodeURIComponent(model)}:generateContent`,
    headers: options.key === undefined ? {} : { 'x-goog-api-key': options.key },
    imageLimits: {
      mediaTypes: ['image/png', 'image/jpeg', 'image/webp'],
      maxBytes: 12 * 1024 * 1024,
      // A request may hold 20 MB in all, in base64.
      maxTotalBytes: 14 * 1024 * 1024,
    },
    imageTokens: geminiImageTokens,
    reasoningTokens,
    info,
    body: (request, images) =>
      geminiBody(request, images, { reasoningTokens, isThinkingSet: options.reasoningTokens !== undefined }),
    read: readGeminiReply,
  };
}

/** 258 tokens for an image of up to 384 pixels per side, else 258 for each tile of 768. */
function geminiImageTokens(width: number, height: number): number {
  if (width <= 384 && height <= 384) return 258;
  return 258 * Math.ceil(width / 768) * Math.ceil(height / 768);
}

function geminiBody(
  request: JudgeRequest,
  images: ImagePart[],
  { reasoningTokens, isThinkingSet }: { reasoningTokens: number; isThinkingSet: boolean },
): Record<string, unknown> {
  const { parameters } = request;
  const contents = request.turns.map((turn, index) => ({
    role: turn.role === 'assistant' ? 'model' : 'user',
    parts: turnParts(request, index, images).map((part) =>
      part.type === 'text' ? { text: part.text } : inlineData(part.image),
    ),
  }));
  return {
    contents,
    ...(request.system === undefined ? {} : { systemInstruction: { parts: [{ text: request.system }] } }),
    generationConfig: {
      maxOutputTokens: parameters.maxTokens + reasoningTokens,
      ...(parameters.temperature === undefined ? {} : { temperature: parameters.temperature }),
      ...(parameters.topP === undefined ? {} : { topP: parameters.topP }),
      ...(parameters.stop === undefined ? {} : { stopSequences: parameters.stop }),
      ...(parameters.seed === undefined ? {} : { seed: parameters.seed }),
      ...(isThinkingSet ? { thinkingConfig: { thinkingBudget: reasoningTokens } } : {}),
      ...(request.schema && {
        responseMimeType: 'application/json',
        responseSchema: toGeminiSchema(request.schema),
      }),
    },
  };
}

function inlineData(image: ImagePart) {
  return { inlineData: { mimeType: image.mediaType, data: image.base64 } };
}

const REFUSALS = new Set([
  'SAFETY',
  'RECITATION',
  'PROHIBITED_CONTENT',
  'BLOCKLIST',
  'SPII',
  'LANGUAGE',
  'IMAGE_SAFETY',
  'IMAGE_PROHIBITED_CONTENT',
  'IMAGE_RECITATION',
]);

/** Reads a reply of generateContent. */
export function readGeminiReply(reply: HttpReply): Attempt {
  const json = parseJson(reply.body);
  if (reply.status !== 200) return geminiFailure(reply, json);
  return isObject(json) ? geminiReply(json) : notJson(reply.body);
}

/** Reads a GenerateContentResponse; the batch results hold the same object. */
export function geminiReply(json: JsonFields): Attempt {
  const about: Partial<Attempt> = {};
  if (typeof json.modelVersion === 'string') about.model = json.modelVersion;
  if (typeof json.responseId === 'string') about.requestId = json.responseId;
  const blocked = fieldsOf(json.promptFeedback).blockReason;
  const [candidate] = Array.isArray(json.candidates) ? json.candidates : [];
  const text = candidateText(candidate);
  const usage = geminiUsage(json, text);
  if (usage) about.usage = usage;
  if (typeof blocked === 'string') return failed('refused', `the prompt was blocked: ${blocked}`, about);
  if (!isObject(candidate)) return failed('empty', 'no candidates in the reply', about);
  const finishReason = String(candidate.finishReason ?? 'STOP');
  about.finishReason = finishReason;
  if (REFUSALS.has(finishReason)) return failed('refused', `the reply was blocked: ${finishReason}`, about);
  if (finishReason === 'MAX_TOKENS') {
    return { ...failed('truncated', 'the token limit was reached (thinking counts)', about), text };
  }
  if (text.trim() === '' || finishReason !== 'STOP')
    return failed('empty', `no text (finishReason ${finishReason})`, about);
  return { outcome: 'ok', text, ...about };
}

/** Thoughts are not part of the reply. */
function candidateText(candidate: unknown): string {
  const { parts } = fieldsOf(fieldsOf(candidate).content);
  if (!Array.isArray(parts)) return '';
  return parts
    .map(fieldsOf)
    .map(({ text, thought }) => (thought !== true && typeof text === 'string' ? text : ''))
    .join('');
}

function geminiUsage({ usageMetadata }: JsonFields, text: string): Usage | undefined {
  const meta = fieldsOf(usageMetadata);
  const thoughts = meta.thoughtsTokenCount ?? 0;
  // Without a reply Gemini omits this field; with one, its absence is an error.
  const answer = meta.candidatesTokenCount ?? (text === '' ? 0 : undefined);
  // Each by itself must be a count: 5 and -3 are not 2.
  if (readUsage({ input: 1, output: thoughts }) === undefined || readUsage({ input: 1, output: answer }) === undefined)
    return undefined;
  return readUsage({
    input: meta.promptTokenCount,
    output: (answer as number) + (thoughts as number),
    reasoning: thoughts,
    cached: meta.cachedContentTokenCount,
  });
}

function geminiFailure(reply: HttpReply, json: unknown): Attempt {
  const error = fieldsOf(fieldsOf(json).error);
  const details = Array.isArray(error.details) ? error.details.map(fieldsOf) : [];
  const why = failureMessage(reply.status, error.message ?? reply.body);
  if (reply.status === 401 || reply.status === 403) return failed('auth', why, { fatal: true });
  // Gemini answers 400 for a wrong key, an unsupported region and a project without billing.
  if (details.some((detail) => detail.reason === 'API_KEY_INVALID') || error.status === 'FAILED_PRECONDITION') {
    return failed('auth', why, { fatal: true });
  }
  if (reply.status === 404) return failed('invalid', why, { fatal: true });
  const delayMs = serverDelayMs(reply.headers, json);
  const wait = delayMs === undefined ? {} : { delayMs };
  if (reply.status === 429) {
    const daily = details
      .flatMap((detail) => detail.violations ?? [])
      .map(fieldsOf)
      .find(isDailyQuota);
    if (daily) return failed('quota-exhausted', `${why} (${String(daily.quotaId)})`, { fatal: true });
    return failed('rate-limited', why, { retry: true, throttle: true, ...wait });
  }
  if (isTransientStatus(reply.status)) {
    return failed('transport', why, { retry: true, throttle: reply.status === 503, ...wait });
  }
  return failed('invalid', why);
}

/** Retrying does not help with a daily quota. */
function isDailyQuota(violation: { quotaId?: unknown }): boolean {
  return /PerDay/i.test(String(violation?.quotaId ?? ''));
}

/** Batch mode: an uploaded JSONL of {key, request}, a long-running operation, a responses file. */
function geminiBatch(api: JudgeApi): BatchApi {
  const { baseUrl, headers } = api;
  const json = { ...headers, 'content-type': 'application/json' };
  return {
    requestLine: (key, body) => ({ key, request: body }),
    submit: async (client, name, file) => {
      const { reply } = await batchCall(client, {
        url: `${withPrefix(baseUrl, 'upload')}/files`,
        headers: {
          ...json,
          'x-goog-upload-protocol': 'resumable',
          'x-goog-upload-command': 'start',
          'x-goog-upload-header-content-length': String(file.length),
          'x-goog-upload-header-content-type': 'application/jsonl',
        },
        body: JSON.stringify({ file: { display_name: name } }),
      });
      const url = headerValue(reply.headers, 'x-goog-upload-url');
      if (url === undefined) throw new RunError('batch', 'the upload was answered without x-goog-upload-url');
      const finalize = { 'x-goog-upload-offset': '0', 'x-goog-upload-command': 'upload, finalize' };
      const uploaded = await batchCall(client, { url, headers: { ...headers, ...finalize }, body: file });
      const fileName = stringField((uploaded.json as { file?: unknown })?.file, 'name');
      const created = await batchCall(client, {
        url: `${baseUrl}/models/${encodeURIComponent(api.model)}:batchGenerateContent`,
        headers: json,
        body: JSON.stringify({ batch: { display_name: name, input_config: { file_name: fileName } } }),
      });
      return stringField(created.json, 'name');
    },
    status: async (client, id) => {
      const reply = await batchCall(client, { method: 'GET', url: `${baseUrl}/${id}`, headers });
      return operationStatus(reply.json);
    },
    fetch: async (client, output) => {
      const url = `${withPrefix(baseUrl, 'download')}/${output}:download?alt=media`;
      const { reply } = await batchCall(client, { method: 'GET', url, headers });
      return reply.body;
    },
    readLine: readGeminiLine,
  };
}

/** https://host/v1beta -> https://host/upload/v1beta. */
function withPrefix(baseUrl: string, prefix: string): string {
  const url = new URL(baseUrl);
  url.pathname = `/${prefix}${url.pathname}`;
  return url.href.replace(/\/+$/, '');
}

interface Operation {
  done?: boolean;
  metadata?: { state?: unknown; output?: { responsesFile?: unknown } };
  response?: { responsesFile?: unknown };
  error?: { message?: unknown };
}

function operationStatus(json: unknown): BatchStatus {
  const { done, metadata, response, error } = json as Operation;
  const detail = String(metadata?.state ?? (done ? 'DONE' : 'UNKNOWN')).replace(/^(BATCH|JOB)_STATE_/, '');
  const output = response?.responsesFile ?? metadata?.output?.responsesFile;
  const outputs = typeof output === 'string' ? [output] : [];
  if (error) return { state: 'failed', detail: `${detail}: ${String(error.message)}`, outputs };
  if (detail === 'SUCCEEDED' || (done && outputs.length > 0)) return { state: 'finished', detail, outputs };
  const isOver = done === true || /^(FAILED|CANCELLED|EXPIRED)$/.test(detail);
  return { state: isOver ? 'failed' : 'running', detail, outputs };
}

function readGeminiLine(line: unknown): ReturnType<BatchApi['readLine']> {
  const { key, response, error } = (line ?? {}) as { key?: unknown; response?: JsonFields; error?: GoogleStatus };
  if (typeof key !== 'string') return undefined;
  return { key, attempt: response ? geminiReply(response) : statusAttempt(error) };
}

interface GoogleStatus {
  code?: number;
  message?: unknown;
}

/** A google.rpc.Status; its codes are gRPC's. */
function statusAttempt(status: GoogleStatus | undefined): Attempt {
  const why = `batch: code ${status?.code}: ${String(status?.message)}`;
  if (status?.code === 3 || status?.code === 400) return failed('invalid', why);
  if (status?.code === 7 || status?.code === 16) return failed('auth', why);
  return failed(status?.code === 8 ? 'rate-limited' : 'transport', why);
}

export const gemini: HttpProvider = {
  operand: 'MODEL',
  keyVariables: ['GEMINI_API_KEY', 'GOOGLE_API_KEY'],
  prices: {
    'gemini-3-pro-preview': { input: 2, output: 12 },
    'gemini-2.5-pro': { input: 1.25, output: 10 },
    'gemini-2.5-flash': { input: 0.3, output: 2.5 },
    'gemini-2.5-flash-lite': { input: 0.1, output: 0.4 },
    'gemini-2.0-flash': { input: 0.1, output: 0.4 },
    'gemini-2.0-flash-lite': { input: 0.075, output: 0.3 },
  },
  api: geminiApi,
  batch: geminiBatch,
};
