// SPDX-License-Identifier: Apache-2.0
// The OpenAI chat-completions API, as OpenAI, vLLM, llama.cpp and others speak it: request bodies and what their
// answers mean.
import { type Attempt, failed, isTransientStatus, type Usage } from './attempt.ts';
import type { HttpReply } from './client.ts';
import type { ImageLimits, ImagePart } from './image-part.ts';
import { headerValue, serverDelayMs } from './server-delay.ts';

export const OPENAI_BASE_URL = 'https://api.openai.com/v1';

export const CHAT_IMAGES: ImageLimits = {
  mediaTypes: ['image/png', 'image/jpeg', 'image/webp', 'image/gif'],
  maxBytes: 20 * 1024 * 1024,
};

/** A message's content: text, and images by their index. */
export type ChatPart = { type: 'text'; text: string } | { type: 'image'; image: ImagePart };

export interface ChatMessage {
  role: 'system' | 'user' | 'assistant';
  content: string | ChatPart[];
}

export interface ChatParameters {
  model: string;
  maxTokens?: number | undefined;
  /** `max_tokens` is what local servers know; OpenAI's own reasoning models take only `max_completion_tokens`. */
  maxTokensField?: 'max_tokens' | 'max_completion_tokens';
  temperature?: number | undefined;
  topP?: number | undefined;
  /** vLLM and llama.cpp take it, OpenAI does not. */
  topK?: number | undefined;
  stop?: readonly string[] | undefined;
  seed?: number | undefined;
  n?: number | undefined;
  logprobs?: boolean | undefined;
  /** A JSON Schema the answer must follow (strict mode). */
  schema?: { name: string; schema: unknown } | undefined;
}

/** The body of POST {base}/chat/completions. */
export function chatBody(messages: ChatMessage[], parameters: ChatParameters): Record<string, unknown> {
  const { schema, stop } = parameters;
  return dropUndefined({
    model: parameters.model,
    messages: messages.map((message) => ({ role: message.role, content: chatContent(message.content) })),
    [parameters.maxTokensField ?? 'max_tokens']: parameters.maxTokens,
    temperature: parameters.temperature,
    top_p: parameters.topP,
    top_k: parameters.topK,
    stop: stop && stop.length > 0 ? stop : undefined,
    seed: parameters.seed,
    n: parameters.n === 1 ? undefined : parameters.n,
    logprobs: parameters.logprobs || undefined,
    response_format: schema && {
      type: 'json_schema',
      json_schema: { name: schema.name, strict: true, schema: schema.schema },
    },
  });
}

function chatContent(content: string | ChatPart[]): unknown {
  if (typeof content === 'string') return content;
  if (content.every((part) => part.type === 'text')) return content.map((part) => part.text).join('');
  return content.map((part) =>
    part.type === 'text' ? part : { type: 'image_url', image_url: { url: imageDataUri(part.image) } },
  );
}

/** The image as a data: URI. */
function imageDataUri(image: ImagePart): string {
  return `data:${image.mediaType};base64,${image.base64}`;
}

function dropUndefined(fields: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined));
}

/** One of a reply's answers. */
export interface ChatChoice {
  text: string;
  refusal?: string;
  finishReason: string;
  /** Sum of the log-probabilities that the server gave, nats; servers leave the end token out. */
  logps?: number;
  numTokens?: number;
}

export interface ChatReply extends Attempt {
  choices: ChatChoice[];
}

interface ChatJson {
  id?: unknown;
  model?: unknown;
  error?: unknown;
  choices?: unknown;
  usage?: {
    prompt_tokens?: number;
    completion_tokens?: number;
    completion_tokens_details?: { reasoning_tokens?: number } | null;
    prompt_tokens_details?: { cached_tokens?: number } | null;
  } | null;
}

/** What a reply of the API means. The attempt's text and outcome are the first choice's. */
export function readChatReply(reply: HttpReply): ChatReply {
  const json = parseJson(reply.body) as ChatJson | undefined;
  const requestId = headerValue(reply.headers, 'x-request-id');
  const id = requestId === undefined ? {} : { requestId };
  if (reply.status !== 200) return { ...chatFailure(reply, json), ...id, choices: [] };
  if (typeof json !== 'object' || json === null) {
    return { ...failed('transport', 'status 200 with a body that is not JSON', { retry: true }), ...id, choices: [] };
  }
  // Routers (OpenRouter and others) report an upstream failure inside a 200.
  if (json.error !== undefined && json.error !== null && !Array.isArray(json.choices)) {
    const { code } = json.error as { code?: unknown };
    const status = typeof code === 'number' ? code : 500;
    return { ...chatFailure({ ...reply, status }, json), ...id, choices: [] };
  }
  return { ...chatAnswer(json), ...id };
}

function chatAnswer(json: ChatJson): ChatReply {
  const choices = (Array.isArray(json.choices) ? json.choices : []).map(readChoice);
  const about: Partial<Attempt> = {};
  if (typeof json.model === 'string') about.model = json.model;
  if (typeof json.id === 'string') about.requestId = json.id;
  const usage = chatUsage(json);
  if (usage) about.usage = usage;
  const first = choices[0];
  if (first === undefined) return { ...failed('empty', 'no choices in the answer', about), choices };
  about.finishReason = first.finishReason;
  return { ...choiceAttempt(first, about), choices };
}

/** The state of one answer by its finish reason. */
function choiceAttempt(choice: ChatChoice, about: Partial<Attempt>): Attempt {
  if (choice.refusal !== undefined) return failed('refused', choice.refusal, about);
  if (choice.finishReason === 'content_filter') return failed('refused', 'stopped by the content filter', about);
  if (choice.finishReason === 'length') {
    return { ...failed('truncated', 'the token limit was reached', about), text: choice.text };
  }
  if (choice.text.trim() === '') return failed('empty', `no text (finish_reason ${choice.finishReason})`, about);
  return { outcome: 'ok', text: choice.text, ...about };
}

function readChoice(choice: unknown): ChatChoice {
  const { message, finish_reason, logprobs } = (choice ?? {}) as {
    message?: { content?: unknown; refusal?: unknown } | null;
    finish_reason?: unknown;
    logprobs?: { content?: { logprob?: unknown }[] | null } | null;
  };
  const read: ChatChoice = { text: contentText(message?.content), finishReason: String(finish_reason ?? 'none') };
  if (typeof message?.refusal === 'string' && message.refusal !== '') read.refusal = message.refusal;
  if (Array.isArray(logprobs?.content)) {
    read.logps = logprobs.content.reduce((sum, token) => sum + Number(token?.logprob), 0);
    read.numTokens = logprobs.content.length;
  }
  return read;
}

function contentText(content: unknown): string {
  if (typeof content === 'string') return content;
  if (!Array.isArray(content)) return '';
  return content.map((part: { text?: unknown } | null) => (typeof part?.text === 'string' ? part.text : '')).join('');
}

function chatUsage({ usage }: ChatJson): Usage | undefined {
  if (typeof usage?.prompt_tokens !== 'number') return undefined;
  const read: Usage = { input_tokens: usage.prompt_tokens, output_tokens: usage.completion_tokens ?? 0 };
  const reasoning = usage.completion_tokens_details?.reasoning_tokens;
  const cached = usage.prompt_tokens_details?.cached_tokens;
  if (reasoning) read.reasoning_tokens = reasoning;
  if (cached) read.cached_tokens = cached;
  return read;
}

const QUOTA_CODES = new Set(['insufficient_quota', 'billing_hard_limit_reached', 'billing_not_active']);
const POLICY_CODES = new Set(['content_filter', 'content_policy_violation', 'moderation_blocked']);

function chatFailure(reply: HttpReply, json: ChatJson | undefined): Attempt {
  const { status } = reply;
  const error = (json?.error ?? {}) as { message?: unknown; type?: unknown; code?: unknown } | string;
  const { message, type, code } = typeof error === 'string' ? { message: error, type: '', code: '' } : error;
  const why = failureMessage(status, message ?? reply.body);
  if (QUOTA_CODES.has(String(code)) || QUOTA_CODES.has(String(type)))
    return failed('quota-exhausted', why, { fatal: true });
  if (POLICY_CODES.has(String(code))) return failed('refused', why);
  if (status === 401 || status === 403) return failed('auth', why, { fatal: true });
  if (status === 402) return failed('quota-exhausted', why, { fatal: true });
  if (status === 404) return failed('invalid', why, { fatal: true });
  const mayRetry = headerValue(reply.headers, 'x-should-retry');
  const delayMs = serverDelayMs(reply.headers, json);
  const wait = delayMs === undefined ? {} : { delayMs };
  if (status === 429) return failed('rate-limited', why, { retry: mayRetry !== 'false', throttle: true, ...wait });
  if (isTransientStatus(status) || mayRetry === 'true') {
    return failed('transport', why, { retry: mayRetry !== 'false', throttle: status === 503, ...wait });
  }
  return failed('invalid', why);
}

/** "status 400: the server's words", one line, at most 500 characters. */
export function failureMessage(status: number, message: unknown): string {
  const text = typeof message === 'string' ? message : JSON.stringify(message ?? '');
  return `status ${status}: ${text.replace(/\s+/g, ' ').trim().slice(0, 500)}`;
}

/** JSON or undefined. */
export function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
