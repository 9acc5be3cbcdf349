// SPDX-License-Identifier: Apache-2.0
// OpenAI and every server with its chat-completions API (vLLM, llama.cpp, routers).
import { failed } from '../../../http/attempt.ts';
import { CHAT_IMAGES, type ChatMessage, chatBody, OPENAI_BASE_URL, readChatReply } from '../../../http/chat.ts';
import type { ImagePart } from '../../../http/image-part.ts';
import { modelInfo } from '../../../http/model-info.ts';
import { type BatchApi, type BatchStatus, batchCall, stringField } from '../batch/api.ts';
import { type JudgeRequest, turnParts } from '../judge.ts';
import { toJsonSchema } from '../schema.ts';
import { type JudgeApi, type JudgeApiOptions, trimSlash } from './http-judge.ts';
import type { HttpProvider } from './provider.ts';

/** The chat-completions API as a judge. */
export function openaiApi(options: JudgeApiOptions): JudgeApi {
  const baseUrl = trimSlash(options.baseUrl ?? OPENAI_BASE_URL);
  const { model } = options;
  const info = modelInfo(model);
  const reasoningTokens = options.reasoningTokens ?? info.reasoningTokens;
  // Some local servers accept only the old name; OpenAI's newest models accept only the new one.
  const ownField = options.baseUrl === undefined ? 'max_completion_tokens' : 'max_tokens';
  return {
    model,
    baseUrl,
    url: `${baseUrl}/chat/completions`,
    headers: options.key === undefined ? {} : { authorization: `Bearer ${options.key}` },
    imageLimits: CHAT_IMAGES,
    imageTokens: openaiImageTokens,
    reasoningTokens,
    info,
    body: (request, images) =>
      chatBody(chatMessages(request, images), {
        model,
        maxTokens: request.parameters.maxTokens + reasoningTokens,
        maxTokensField: info.maxTokensField ?? ownField,
        temperature: request.parameters.temperature,
        topP: request.parameters.topP,
        stop: info.stop ? request.parameters.stop : undefined,
        seed: request.parameters.seed,
        schema: request.schema && { name: 'judgement', schema: toJsonSchema(request.schema) },
      }),
    read: (reply) => {
      const { choices: _, ...attempt } = readChatReply(reply);
      return attempt;
    },
  };
}

/** High detail: 85, plus 170 for each tile of 512 after fitting into 2048 and scaling the short side to 768. */
function openaiImageTokens(width: number, height: number): number {
  const fit = Math.min(1, 2048 / Math.max(width, height, 1));
  const scale = fit * Math.min(1, 768 / Math.max(1, Math.min(width, height) * fit));
  return 85 + 170 * Math.ceil((width * scale) / 512) * Math.ceil((height * scale) / 512);
}

/** The conversation as chat messages. */
function chatMessages(request: JudgeRequest, images: ImagePart[]): ChatMessage[] {
  const messages: ChatMessage[] = request.system === undefined ? [] : [{ role: 'system', content: request.system }];
  for (const [index, { role }] of request.turns.entries()) {
    messages.push({ role, content: turnParts(request, index, images) });
  }
  return messages;
}

/** Batch mode: JSONL of {custom_id, method, url, body}; output and error files, in no order. */
function openaiBatch(api: JudgeApi): BatchApi {
  const { baseUrl, headers } = api;
  return {
    requestLine: (key, body) => ({ custom_id: key, method: 'POST', url: '/v1/chat/completions', body }),
    submit: async (client, name, file) => {
      const form = multipart({ purpose: 'batch' }, { field: 'file', name, type: 'application/jsonl', bytes: file });
      const upload = { url: `${baseUrl}/files`, headers: { ...headers, 'content-type': form.type }, body: form.body };
      const { json: uploaded } = await batchCall(client, upload);
      const { json } = await batchCall(client, {
        url: `${baseUrl}/batches`,
        headers: { ...headers, 'content-type': 'application/json' },
        body: JSON.stringify({
          input_file_id: stringField(uploaded, 'id'),
          endpoint: '/v1/chat/completions',
          completion_window: '24h',
        }),
      });
      return stringField(json, 'id');
    },
    status: async (client, id) => {
      const { json } = await batchCall(client, { method: 'GET', url: `${baseUrl}/batches/${id}`, headers });
      return batchStatus(json);
    },
    fetch: async (client, output) => {
      const { reply } = await batchCall(client, { method: 'GET', url: `${baseUrl}/files/${output}/content`, headers });
      return reply.body;
    },
    readLine: readOpenaiLine,
  };
}

function batchStatus(json: unknown): BatchStatus {
  const { status, output_file_id, error_file_id } = json as Record<string, unknown>;
  const outputs = [output_file_id, error_file_id].filter((id): id is string => typeof id === 'string' && id !== '');
  const detail = String(status);
  if (detail === 'completed') return { state: 'finished', detail, outputs };
  // An expired or cancelled batch still has the results that finished before.
  const isOver = detail === 'failed' || detail === 'expired' || detail === 'cancelled';
  return { state: isOver ? 'failed' : 'running', detail, outputs };
}

function readOpenaiLine(line: unknown): ReturnType<BatchApi['readLine']> {
  const { custom_id, response, error } = (line ?? {}) as {
    custom_id?: unknown;
    response?: { status_code?: number; body?: unknown } | null;
    error?: { code?: unknown; message?: unknown } | null;
  };
  if (typeof custom_id !== 'string') return undefined;
  if (!response)
    return { key: custom_id, attempt: failed('transport', `batch: ${String(error?.code)}: ${String(error?.message)}`) };
  const reply = { status: response.status_code ?? 200, headers: {}, body: JSON.stringify(response.body ?? null) };
  const { choices: _, ...attempt } = readChatReply(reply);
  return { key: custom_id, attempt };
}

/** multipart/form-data of plain fields and one file. */
function multipart(
  fields: Record<string, string>,
  file: { field: string; name: string; type: string; bytes: Uint8Array },
): { type: string; body: Uint8Array } {
  const boundary = 'vpref-7c1f0b6a2d9e4835';
  const parts = Object.entries(fields).map(
    ([name, value]) => `--${boundary}\r\ncontent-disposition: form-data; name="${name}"\r\n\r\n${value}\r\n`,
  );
  const head = `${parts.join('')}--${boundary}\r\ncontent-disposition: form-data; name="${file.field}"; filename="${file.name}"\r\ncontent-type: ${file.type}\r\n\r\n`;
  const body = Buffer.concat([Buffer.from(head), file.bytes, Buffer.from(`\r\n--${boundary}--\r\n`)]);
  return { type: `multipart/form-data; boundary=${boundary}`, body };
}

export const openai: HttpProvider = {
  operand: 'MODEL',
  keyVariables: ['OPENAI_API_KEY'],
  prices: {
    'gpt-5': { input: 1.25, output: 10 },
    'gpt-5-mini': { input: 0.25, output: 2 },
    'gpt-5-nano': { input: 0.05, output: 0.4 },
    'gpt-5-chat': { input: 1.25, output: 10 },
    'gpt-5-pro': { input: 15, output: 120 },
    'gpt-4.1': { input: 2, output: 8 },
    'gpt-4.1-mini': { input: 0.4, output: 1.6 },
    'gpt-4.1-nano': { input: 0.1, output: 0.4 },
    'gpt-4o': { input: 2.5, output: 10 },
    'gpt-4o-2024-05-13': { input: 5, output: 15 },
    'gpt-4o-mini': { input: 0.15, output: 0.6 },
    'gpt-4-turbo': { input: 10, output: 30 },
    'gpt-4-1106-preview': { input: 10, output: 30 },
    'gpt-4-0125-preview': { input: 10, output: 30 },
    'gpt-4': { input: 30, output: 60 },
    'gpt-3.5-turbo': { input: 0.5, output: 1.5 },
    'gpt-3.5-turbo-1106': { input: 1, output: 2 },
    'gpt-3.5-turbo-0613': { input: 1.5, output: 2 },
    'gpt-3.5-turbo-0301': { input: 1.5, output: 2 },
    o1: { input: 15, output: 60 },
    'o1-pro': { input: 150, output: 600 },
    o3: { input: 2, output: 8 },
    'o3-mini': { input: 1.1, output: 4.4 },
    'o3-pro': { input: 20, output: 80 },
    'o4-mini': { input: 1.1, output: 4.4 },
  },
  api: openaiApi,
  batch: openaiBatch,
};
