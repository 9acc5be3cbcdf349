// SPDX-License-Identifier: Apache-2.0
// OpenAI's Batch API: JSONL of {custom_id, method, url, body}; output and error files, in no order.
import { failed } from '../../../http/attempt.ts';
import { readChatReply } from '../../../http/chat.ts';
import type { JudgeApi } from '../providers/http-judge.ts';
import { type BatchApi, type BatchStatus, batchCall, stringField } from './api.ts';

export function openaiBatch(api: JudgeApi): BatchApi {
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
  // An expired or cancelled batch still has the results that were made in time.
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
