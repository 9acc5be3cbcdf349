// SPDX-License-Identifier: Apache-2.0
// Gemini's batch mode: an uploaded JSONL of {key, request}, a long-running operation, a responses file.
import { type Attempt, failed } from '../../../http/attempt.ts';
import type { JsonFields } from '../../../http/chat.ts';
import { headerValue } from '../../../http/server-delay.ts';
import { RunError } from '../../../records/error.ts';
import { geminiAnswer } from '../providers/gemini.ts';
import type { JudgeApi } from '../providers/http-judge.ts';
import { type BatchApi, type BatchStatus, batchCall, stringField } from './api.ts';

export function geminiBatch(api: JudgeApi): BatchApi {
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
  return { key, attempt: response ? geminiAnswer(response) : statusAttempt(error) };
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
