// SPDX-License-Identifier: Apache-2.0
// Anthropic messages: POST {base}/messages. Structured replies use a forced tool call, which every model supports.
import { type Attempt, failed, isTransientStatus, readUsage, type Usage } from '../../../http/attempt.ts';
import { failureMessage, fieldsOf, type JsonFields, notJson, parseJson } from '../../../http/chat.ts';
import type { HttpReply } from '../../../http/client.ts';
import type { ImagePart } from '../../../http/image-part.ts';
import { modelInfo } from '../../../http/model-info.ts';
import { headerValue, serverDelayMs } from '../../../http/server-delay.ts';
import { isObject } from '../../../records/field.ts';
import { type JudgeRequest, turnParts } from '../judge.ts';
import { toJsonSchema } from '../schema.ts';
import { type JudgeApi, type JudgeApiOptions, trimSlash } from './http-judge.ts';
import type { HttpProvider } from './provider.ts';

const BASE_URL = 'https://api.anthropic.com/v1';
const API_VERSION = '2023-06-01';
const TOOL = 'judgement';

/** The messages API as a judge. */
export function anthropicApi(options: JudgeApiOptions): JudgeApi {
  const baseUrl = trimSlash(options.baseUrl ?? BASE_URL);
  return {
    model: options.model,
    baseUrl,
    url: `${baseUrl}/messages`,
    headers: { 'anthropic-version': API_VERSION, ...(options.key === undefined ? {} : { 'x-api-key': options.key }) },
    imageLimits: {
      mediaTypes: ['image/jpeg', 'image/png', 'image/gif', 'image/webp'],
      // 5 MB as sent, in base64.
      maxBytes: Math.floor((5 * 1024 * 1024 * 3) / 4),
      // A request may hold 32 MB.
      maxTotalBytes: 22 * 1024 * 1024,
      maxSide: 8000,
      ofMany: { count: 20, maxSide: 2000 },
    },
    imageTokens: anthropicImageTokens,
    reasoningTokens: options.reasoningTokens ?? 0,
    info: modelInfo(options.model),
    body: (request, images) => anthropicBody(request, images, options),
    read: readAnthropicReply,
  };
}

/** Pixels / 750 after the long side is scaled to 1568. */
function anthropicImageTokens(width: number, height: number): number {
  const scale = Math.min(1, 1568 / Math.max(width, height, 1));
  return Math.ceil((width * scale * height * scale) / 750);
}

function anthropicBody(request: JudgeRequest, images: ImagePart[], options: JudgeApiOptions): Record<string, unknown> {
  const { parameters, schema } = request;
  return {
    model: options.model,
    max_tokens: parameters.maxTokens + (options.reasoningTokens ?? 0),
    ...(request.system === undefined ? {} : { system: request.system }),
    messages: request.turns.map((turn, index) => ({
      role: turn.role,
      content: turnParts(request, index, images).map((part) => (part.type === 'text' ? part : imageBlock(part.image))),
    })),
    ...(parameters.temperature === undefined ? {} : { temperature: parameters.temperature }),
    ...(parameters.topP === undefined ? {} : { top_p: parameters.topP }),
    ...(parameters.stop === undefined ? {} : { stop_sequences: parameters.stop }),
    ...(schema && {
      tools: [{ name: TOOL, description: 'Submits the judgement.', input_schema: toJsonSchema(schema) }],
      tool_choice: { type: 'tool', name: TOOL },
    }),
  };
}

function imageBlock(image: ImagePart) {
  return { type: 'image', source: { type: 'base64', media_type: image.mediaType, data: image.base64 } };
}

/** Reads a reply of the messages API. */
export function readAnthropicReply(reply: HttpReply): Attempt {
  const json = parseJson(reply.body);
  const requestId = headerValue(reply.headers, 'request-id');
  const id = requestId === undefined ? {} : { requestId };
  if (reply.status !== 200) return { ...anthropicFailure(reply, json), ...id };
  return { ...id, ...(isObject(json) ? anthropicReply(json) : notJson(reply.body)) };
}

function anthropicReply(json: JsonFields): Attempt {
  const about: Partial<Attempt> = {};
  if (typeof json.model === 'string') about.model = json.model;
  if (typeof json.id === 'string') about.requestId = json.id;
  const usage = anthropicUsage(json);
  if (usage) about.usage = usage;
  const finishReason = String(json.stop_reason ?? 'none');
  about.finishReason = finishReason;
  const blocks = (Array.isArray(json.content) ? json.content : []).map(fieldsOf);
  const tool = blocks.find((block) => block.type === 'tool_use');
  const text = tool
    ? JSON.stringify(tool.input ?? null)
    : blocks.map((block) => (block.type === 'text' && typeof block.text === 'string' ? block.text : '')).join('');
  if (finishReason === 'refusal') return failed('refused', 'the model refused', about);
  if (finishReason === 'max_tokens' || finishReason === 'model_context_window_exceeded') {
    return { ...failed('truncated', `stopped by ${finishReason}`, about), text };
  }
  if (text.trim() === '') return failed('empty', `no text (stop_reason ${finishReason})`, about);
  return { outcome: 'ok', text, ...about };
}

function anthropicUsage({ usage }: JsonFields): Usage | undefined {
  const { input_tokens, output_tokens, ...cache } = fieldsOf(usage);
  const parts = [input_tokens, cache.cache_read_input_tokens ?? 0, cache.cache_creation_input_tokens ?? 0];
  // Check each count alone: 5 and -3 must not pass as 2.
  if (parts.some((part) => readUsage({ input: part, output: 1 }) === undefined)) return undefined;
  const input = (parts as number[]).reduce((sum, part) => sum + part, 0);
  return readUsage({ input, output: output_tokens, cached: cache.cache_read_input_tokens });
}

function anthropicFailure(reply: HttpReply, json: unknown): Attempt {
  const error = fieldsOf(fieldsOf(json).error);
  const why = failureMessage(reply.status, error.message ?? reply.body);
  const { status } = reply;
  if (status === 401 || status === 403) return failed('auth', why, { fatal: true });
  if (status === 402 || /credit balance is too low/i.test(why)) return failed('quota-exhausted', why, { fatal: true });
  if (status === 404) return failed('invalid', why, { fatal: true });
  const delayMs = serverDelayMs(reply.headers, json);
  const wait = delayMs === undefined ? {} : { delayMs };
  if (status === 429) return failed('rate-limited', why, { retry: true, throttle: true, ...wait });
  if (isTransientStatus(status)) {
    const isOverloaded = status === 529 || status === 503;
    return failed('transport', why, { retry: true, throttle: isOverloaded, ...wait });
  }
  return failed('invalid', why);
}

export const anthropic: HttpProvider = {
  operand: 'MODEL',
  keyVariables: ['ANTHROPIC_API_KEY'],
  prices: {
    'claude-opus-4-5': { input: 5, output: 25 },
    'claude-opus-4-1': { input: 15, output: 75 },
    'claude-opus-4-0': { input: 15, output: 75 },
    'claude-opus-4': { input: 15, output: 75 },
    'claude-sonnet-4-5': { input: 3, output: 15 },
    'claude-sonnet-4-0': { input: 3, output: 15 },
    'claude-sonnet-4': { input: 3, output: 15 },
    'claude-3-7-sonnet': { input: 3, output: 15 },
    'claude-3-5-sonnet': { input: 3, output: 15 },
    'claude-haiku-4-5': { input: 1, output: 5 },
    'claude-3-5-haiku': { input: 0.8, output: 4 },
    'claude-3-haiku': { input: 0.25, output: 1.25 },
  },
  api: anthropicApi,
};
