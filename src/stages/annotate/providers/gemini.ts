// SPDX-License-Identifier: Apache-2.0
// Gemini, REST: POST {base}/models/{model}:generateContent. Much of what goes wrong there comes with status 200.
import { type Attempt, failed, isTransientStatus, type Usage } from '../../../http/attempt.ts';
import { failureMessage, parseJson } from '../../../http/chat.ts';
import type { HttpReply } from '../../../http/client.ts';
import type { ImagePart } from '../../../http/image-part.ts';
import { serverDelayMs } from '../../../http/server-delay.ts';
import { type JudgeRequest, turnParts } from '../judge.ts';
import { toGeminiSchema } from '../schema.ts';
import { type JudgeApi, type JudgeApiOptions, trimSlash } from './http-judge.ts';

export const GEMINI_BASE_URL = 'https://generativelanguage.googleapis.com/v1beta';

/** Models that think before they answer, at the expense of maxOutputTokens. */
const THINKS = /^gemini-(2\.5|[3-9])/;
const DEFAULT_THINKING_TOKENS = 8192;

/** The Gemini API as a judge. */
export function geminiApi(options: JudgeApiOptions): JudgeApi {
  const baseUrl = trimSlash(options.baseUrl ?? GEMINI_BASE_URL);
  const { model } = options;
  return {
    provider: 'gemini',
    model,
    baseUrl,
    url: `${baseUrl}/models/${encodeURIComponent(model)}:generateContent`,
    headers: options.key === undefined ? {} : { 'x-goog-api-key': options.key },
    imageLimits: {
      mediaTypes: ['image/png', 'image/jpeg', 'image/webp'],
      // A request may hold 20 MB in all.
      maxBytes: 12 * 1024 * 1024,
    },
    imageTokens: geminiImageTokens,
    reasoningTokens: options.reasoningTokens ?? (THINKS.test(model) ? DEFAULT_THINKING_TOKENS : 0),
    hasFixedTemperature: false,
    body: (request, images) => geminiBody(request, images, options),
    read: readGeminiReply,
  };
}

/** 258 tokens for an image of up to 384 pixels a side, else 258 for each tile of 768. */
function geminiImageTokens(width: number, height: number): number {
  if (width <= 384 && height <= 384) return 258;
  return 258 * Math.ceil(width / 768) * Math.ceil(height / 768);
}

function geminiBody(request: JudgeRequest, images: ImagePart[], options: JudgeApiOptions): Record<string, unknown> {
  const { parameters } = request;
  const reasoning = options.reasoningTokens ?? (THINKS.test(options.model) ? DEFAULT_THINKING_TOKENS : 0);
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
      maxOutputTokens: parameters.maxTokens + reasoning,
      ...(parameters.temperature === undefined ? {} : { temperature: parameters.temperature }),
      ...(parameters.topP === undefined ? {} : { topP: parameters.topP }),
      ...(parameters.stop === undefined ? {} : { stopSequences: parameters.stop }),
      ...(parameters.seed === undefined ? {} : { seed: parameters.seed }),
      ...(options.reasoningTokens === undefined ? {} : { thinkingConfig: { thinkingBudget: reasoning } }),
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

interface GeminiJson {
  candidates?: { content?: { parts?: { text?: unknown; thought?: unknown }[] }; finishReason?: unknown }[];
  promptFeedback?: { blockReason?: unknown };
  usageMetadata?: {
    promptTokenCount?: number;
    candidatesTokenCount?: number;
    thoughtsTokenCount?: number;
    cachedContentTokenCount?: number;
  };
  modelVersion?: unknown;
  responseId?: unknown;
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

/** What a reply of generateContent means. */
export function readGeminiReply(reply: HttpReply): Attempt {
  const json = parseJson(reply.body);
  if (reply.status !== 200) return geminiFailure(reply, json);
  if (typeof json !== 'object' || json === null || Array.isArray(json)) {
    return failed('transport', 'status 200 with a body that is not a JSON object', { retry: true });
  }
  return geminiAnswer(json);
}

/** What a GenerateContentResponse means; the batch results hold the same object. */
export function geminiAnswer(json: GeminiJson): Attempt {
  const about: Partial<Attempt> = {};
  if (typeof json.modelVersion === 'string') about.model = json.modelVersion;
  if (typeof json.responseId === 'string') about.requestId = json.responseId;
  const usage = geminiUsage(json);
  if (usage) about.usage = usage;
  const blocked = json.promptFeedback?.blockReason;
  if (typeof blocked === 'string') return failed('refused', `the prompt was blocked: ${blocked}`, about);
  const candidate = Array.isArray(json.candidates) ? json.candidates[0] : undefined;
  if (candidate === undefined) return failed('empty', 'no candidates in the answer', about);
  const finishReason = String(candidate.finishReason ?? 'STOP');
  about.finishReason = finishReason;
  const parts = Array.isArray(candidate.content?.parts) ? candidate.content.parts : [];
  const text = parts
    .map((part) => (part?.thought !== true && typeof part?.text === 'string' ? part.text : ''))
    .join('');
  if (REFUSALS.has(finishReason)) return failed('refused', `the answer was blocked: ${finishReason}`, about);
  if (finishReason === 'MAX_TOKENS') {
    return { ...failed('truncated', 'the token limit was reached (thinking counts)', about), text };
  }
  if (text.trim() === '' || finishReason !== 'STOP')
    return failed('empty', `no text (finishReason ${finishReason})`, about);
  return { outcome: 'ok', text, ...about };
}

function geminiUsage({ usageMetadata: meta }: GeminiJson): Usage | undefined {
  if (typeof meta?.promptTokenCount !== 'number') return undefined;
  const thoughts = meta.thoughtsTokenCount ?? 0;
  const usage: Usage = {
    input_tokens: meta.promptTokenCount,
    output_tokens: (meta.candidatesTokenCount ?? 0) + thoughts,
  };
  if (thoughts > 0) usage.reasoning_tokens = thoughts;
  if (meta.cachedContentTokenCount) usage.cached_tokens = meta.cachedContentTokenCount;
  return usage;
}

interface GoogleError {
  code?: number;
  message?: unknown;
  status?: unknown;
  details?: { reason?: unknown; violations?: { quotaId?: unknown }[] }[];
}

function geminiFailure(reply: HttpReply, json: unknown): Attempt {
  const error = ((json as { error?: unknown } | undefined)?.error ?? {}) as GoogleError;
  const details = Array.isArray(error.details) ? error.details : [];
  const why = failureMessage(reply.status, error.message ?? reply.body);
  if (reply.status === 401 || reply.status === 403) return failed('auth', why, { fatal: true });
  // A wrong key is a 400 here; so are a region without service and a project without billing.
  if (details.some((detail) => detail?.reason === 'API_KEY_INVALID') || error.status === 'FAILED_PRECONDITION') {
    return failed('auth', why, { fatal: true });
  }
  if (reply.status === 404) return failed('invalid', why, { fatal: true });
  const delayMs = serverDelayMs(reply.headers, json);
  const wait = delayMs === undefined ? {} : { delayMs };
  if (reply.status === 429) {
    const daily = details.flatMap((detail) => detail?.violations ?? []).find(isDailyQuota);
    if (daily) return failed('quota-exhausted', `${why} (${String(daily.quotaId)})`, { fatal: true });
    return failed('rate-limited', why, { retry: true, throttle: true, ...wait });
  }
  if (isTransientStatus(reply.status)) {
    return failed('transport', why, { retry: true, throttle: reply.status === 503, ...wait });
  }
  return failed('invalid', why);
}

/** Waiting does not bring a day's quota back. */
function isDailyQuota(violation: { quotaId?: unknown }): boolean {
  return /PerDay/i.test(String(violation?.quotaId ?? ''));
}
