// SPDX-License-Identifier: Apache-2.0
// The OpenAI chat-completions API, as used by OpenAI, vLLM, llama.cpp and others: request bodies and the parsing of
// replies.
import { isObject } from '../records/field.ts';
import { type Attempt, failed, isTransientStatus, readUsage, type Usage } from './attempt.ts';
import type { HttpReply } from './client.ts';
import type { ImageLimits, ImagePart } from './image-part.ts';
import { headerValue, serverDelayMs } from './server-delay.ts';

export const OPENAI_BASE_URL = 'https://api.openai.com/v1';

export const CHAT_IMAGES: ImageLimits = {
  mediaTypes: ['image/png', 'image/jpeg', 'image/webp', 'image/gif'],
  maxBytes: 20 * 1024 * 1024,
  // A request may hold 50 MB, in base64.
  maxTotalBytes: 36 * 1024 * 1024,
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
  /** Local servers accept `max_tokens`; OpenAI's reasoning models accept only `max_completion_tokens`. */
  maxTokensField?: 'max_tokens' | 'max_completion_tokens';
  temperature?: number | undefined;
  topP?: number | undefined;
  /** Accepted by vLLM and llama.cpp, not by OpenAI. */
  topK?: number | undefined;
  stop?: readonly string[] | undefined;
  seed?: number | undefined;
  n?: number | undefined;
  logprobs?: boolean | undefined;
  /** A JSON Schema for the reply (strict mode). */
  schema?: { name: string; schema: unknown } | undefined;
}

/** The body of POST {base}/chat/completions. */
export function chatBody(messages: ChatMessage[], parameters: ChatParameters): Record<string, unknown> {
  const { schema, stop } = parameters;
  return dropUndefined({
    model: parameters.model,
    messages: messages.map(chatMessageJson),
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

/** A message in the API's form. */
export function chatMessageJson({ role, content }: ChatMessage): { role: string; content: unknown } {
  return { role, content: chatContent(content) };
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

/** One choice of a reply. */
export interface ChatChoice {
  text: string;
  refusal?: string;
  finishReason: string;
  /** Whether there is no text: null, or reasoning or tool calls instead. */
  isMissing?: boolean;
  /** Sum of the server's log-probabilities, nats; servers omit the end token. */
  logps?: number;
  numTokens?: number;
  /** The log-probability of each token, if all have one, and their texts. */
  perTokenLogps?: number[];
  tokens?: string[];
}

export interface ChatReply extends Attempt {
  choices: ChatChoice[];
}

/** Reads a reply of the API. The attempt's text and outcome are the first choice's. */
export function readChatReply(reply: HttpReply): ChatReply {
  const json = parseJson(reply.body);
  const requestId = headerValue(reply.headers, 'x-request-id');
  const id = requestId === undefined ? {} : { requestId };
  if (reply.status !== 200) return { ...chatFailure(reply, json), ...id, choices: [] };
  if (!isObject(json)) return { ...notJson(reply.body), ...id, choices: [] };
  // Routers (OpenRouter and others) report an upstream failure inside a 200.
  if (json.error !== undefined && json.error !== null && !Array.isArray(json.choices)) {
    const { code } = fieldsOf(json.error);
    const status = typeof code === 'number' ? code : 500;
    return { ...chatFailure({ ...reply, status }, json), ...id, choices: [] };
  }
  return { ...chatReply(json), ...id };
}

function chatReply(json: JsonFields): ChatReply {
  const choices = (Array.isArray(json.choices) ? json.choices : []).map(readChoice);
  const about: Partial<Attempt> = {};
  if (typeof json.model === 'string') about.model = json.model;
  if (typeof json.id === 'string') about.requestId = json.id;
  const usage = chatUsage(json);
  if (usage) about.usage = usage;
  const first = choices[0];
  if (first === undefined) return { ...failed('empty', 'no choices in the reply', about), choices };
  about.finishReason = first.finishReason;
  return { ...choiceAttempt(first, about), choices };
}

/** Values for a normal end, and for an end at the token limit. */
const ENDS = new Set(['stop', 'eos', 'eos_token', 'end_turn', 'stop_sequence', 'COMPLETE']);
const LIMITS = new Set(['length', 'max_tokens']);

/** How a choice ended; `other`: a value that no known API documents. */
export function endOf({ finishReason }: ChatChoice): 'stop' | 'length' | 'filtered' | 'none' | 'broken' | 'other' {
  if (ENDS.has(finishReason)) return 'stop';
  if (LIMITS.has(finishReason)) return 'length';
  if (finishReason === 'content_filter') return 'filtered';
  if (finishReason === 'abort' || finishReason === 'error' || finishReason === 'cancelled') return 'broken';
  return finishReason === 'none' ? 'none' : 'other';
}

/** The outcome of one choice by its finish reason. */
function choiceAttempt(choice: ChatChoice, about: Partial<Attempt> = {}): Attempt {
  const end = endOf(choice);
  const why = `finish_reason ${choice.finishReason}`;
  if (choice.refusal !== undefined) return failed('refused', choice.refusal, about);
  if (end === 'filtered') return failed('refused', 'stopped by the content filter', about);
  if (end === 'length') return { ...failed('truncated', 'the token limit was reached', about), text: choice.text };
  if (end === 'broken') return failed('transport', `the server stopped early (${why})`, { ...about, retry: true });
  if (choice.text.trim() === '') return failed('empty', `no text (${why})`, about);
  if (end === 'other') return failed('empty', `the response is incomplete (${why})`, about);
  return { outcome: 'ok', text: choice.text, ...about };
}

function readChoice(choice: unknown): ChatChoice {
  const { message, finish_reason, logprobs } = fieldsOf(choice);
  const { content, refusal, tool_calls, reasoning_content, reasoning } = fieldsOf(message);
  const read: ChatChoice = { text: contentText(content), finishReason: String(finish_reason ?? 'none') };
  if (typeof refusal === 'string' && refusal !== '') read.refusal = refusal;
  // An empty text is a reply only if the server sends one.
  const isText = typeof content === 'string' || Array.isArray(content);
  const isElsewhere = [tool_calls, reasoning_content, reasoning].some(isFilled);
  if (read.text === '' && (!isText || isElsewhere)) read.isMissing = true;
  const tokens = fieldsOf(logprobs).content;
  if (Array.isArray(tokens)) Object.assign(read, tokenSum(tokens));
  return read;
}

function isFilled(value: unknown): boolean {
  return (typeof value === 'string' || Array.isArray(value)) && value.length > 0;
}

/** The sum only if every token has a number: some servers write null for minus infinity. */
function tokenSum(tokens: unknown[]): Pick<ChatChoice, 'logps' | 'numTokens' | 'perTokenLogps' | 'tokens'> {
  const logprobs = tokens.map((token) => fieldsOf(token).logprob);
  const numTokens = tokens.length;
  if (!logprobs.every((logprob): logprob is number => typeof logprob === 'number' && logprob <= 0))
    return { numTokens };
  const logps = logprobs.reduce((total, logprob) => total + logprob, 0);
  return { numTokens, logps, perTokenLogps: logprobs, tokens: tokens.map(tokenText) };
}

// `token` may replace a partial character; its bytes are exact.
function tokenText(token: unknown): string {
  const { token: text, bytes } = fieldsOf(token);
  const isBytes = Array.isArray(bytes) && bytes.length > 0;
  return isBytes ? Buffer.from(bytes as number[]).toString() : String(text ?? '');
}

function contentText(content: unknown): string {
  if (typeof content === 'string') return content;
  if (!Array.isArray(content)) return '';
  return content
    .map(fieldsOf)
    .map(({ text }) => (typeof text === 'string' ? text : ''))
    .join('');
}

function chatUsage({ usage }: JsonFields): Usage | undefined {
  const { prompt_tokens, completion_tokens, completion_tokens_details, prompt_tokens_details } = fieldsOf(usage);
  return readUsage({
    input: prompt_tokens,
    output: completion_tokens,
    reasoning: fieldsOf(completion_tokens_details).reasoning_tokens,
    cached: fieldsOf(prompt_tokens_details).cached_tokens,
  });
}

const QUOTA_CODES = new Set(['insufficient_quota', 'billing_hard_limit_reached', 'billing_not_active']);
const POLICY_CODES = new Set(['content_filter', 'content_policy_violation', 'moderation_blocked']);

/** Reads a reply with a status other than 200. */
export function chatFailure(reply: HttpReply, json: unknown): Attempt {
  const { status } = reply;
  const { error } = fieldsOf(json);
  const { message, type, code } = typeof error === 'string' ? { message: error, type: '', code: '' } : fieldsOf(error);
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

/** "status 400: the server's words", one full line: withoutSecrets cuts it after removing secrets. */
export function failureMessage(status: number, message: unknown): string {
  const text = typeof message === 'string' ? message : JSON.stringify(message ?? '');
  return `status ${status}: ${text.replace(/\s+/g, ' ').trim()}`;
}

/** A status 200 with an unusable body. */
export function notJson(body: string): Attempt {
  const hasNaN = /[:,[]\s*(?:NaN|-?Infinity)\b/.test(body);
  const what = hasNaN ? 'valid JSON: it holds NaN or Infinity' : 'a JSON object';
  return failed('transport', `status 200 with a body that is not ${what}`, { retry: true, brokeOff: true });
}

export type JsonFields = Record<string, unknown>;

/** The fields of a JSON object; no fields for any other value. */
export function fieldsOf(value: unknown): JsonFields {
  return isObject(value) ? value : {};
}

/** JSON or undefined. */
export function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
