// SPDX-License-Identifier: Apache-2.0
// What the batch modes of the providers have in common.
import { type Attempt, hideSecrets, MAX_MESSAGE } from '../../../http/attempt.ts';
import { failureMessage, parseJson } from '../../../http/chat.ts';
import {
  type HttpClient,
  type HttpReply,
  type HttpRequest,
  TransportError,
  wasNeverSent,
} from '../../../http/client.ts';
import { RunError } from '../../../records/error.ts';
import { headerSecrets } from '../../../records/server-url.ts';

/** The state of a submitted batch. */
export interface BatchStatus {
  state: 'running' | 'finished' | 'failed';
  /** The provider's word for it. */
  detail: string;
  /** Result files to fetch, by the provider's name for them. */
  outputs: string[];
}

/** One provider's batch API and its file format. */
export interface BatchApi {
  /** A line of the request file. */
  requestLine(key: string, body: Record<string, unknown>): Record<string, unknown>;
  /** Uploads a request file and starts a batch. Returns the provider's name for the batch. */
  submit(client: HttpClient, name: string, file: Uint8Array): Promise<string>;
  status(client: HttpClient, id: string): Promise<BatchStatus>;
  fetch(client: HttpClient, output: string): Promise<string>;
  /** Parses a line of a result file; undefined if it is not one. */
  readLine(line: unknown): { key: string; attempt: Attempt } | undefined;
}

/** A failed call whose effect on the server is unknown. */
export const UNSURE = 'batch-unsure';

/** Sends a request of a batch API, with a long time limit for files. Throws RunError with the server's message. */
export async function batchCall(
  client: HttpClient,
  request: HttpRequest,
): Promise<{ json: unknown; reply: HttpReply }> {
  const what = `${request.method ?? 'POST'} ${new URL(request.url).pathname}`;
  const reply = await sendOrFail(client, request, what);
  const json = parseJson(reply.body);
  if (reply.status >= 300) {
    const message = (json as { error?: { message?: unknown } } | undefined)?.error?.message ?? reply.body;
    const code = reply.status === 401 || reply.status === 403 ? 'auth' : reply.status >= 500 ? UNSURE : 'batch';
    throw new RunError(code, `${what}: ${failureMessage(reply.status, message).slice(0, MAX_MESSAGE)}`);
  }
  return { json, reply };
}

async function sendOrFail(client: HttpClient, request: HttpRequest, what: string): Promise<HttpReply> {
  try {
    const reply = await client.send({ timeoutMs: 600_000, maxResponseBytes: 400 * 1024 * 1024, ...request });
    // Remove secrets before the text is cut, printed or written.
    return { ...reply, body: hideSecrets(reply.body, headerSecrets(request.headers ?? {})) };
  } catch (cause) {
    if (!(cause instanceof TransportError)) throw cause;
    throw new RunError(wasNeverSent(cause) ? 'transport' : UNSURE, `${what}: ${cause.message}`, { cause });
  }
}

/** A string field of a reply. Throws RunError if it is missing. */
export function stringField(json: unknown, field: string): string {
  const value = (json as Record<string, unknown> | undefined)?.[field];
  if (typeof value === 'string' && value !== '') return value;
  throw new RunError('batch', `the server's reply has no ${field}: ${JSON.stringify(json)?.slice(0, 200)}`);
}
