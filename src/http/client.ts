// SPDX-License-Identifier: Apache-2.0
// One HTTP client for every API: JSON over undici, proxies from the environment, a time limit that covers the whole
// call, strict UTF-8, a limit of the reply's size. undici is loaded on first use.

import type { Dispatcher } from 'undici';
import { count } from '../records/count.ts';
import type { Headers } from './server-delay.ts';

export interface HttpRequest {
  method?: 'GET' | 'POST' | 'PUT';
  url: string;
  headers?: Record<string, string>;
  body?: string | Uint8Array;
  signal?: AbortSignal | undefined;
  /** Overrides the client's limit, for uploads and downloads. */
  timeoutMs?: number;
  maxResponseBytes?: number;
}

export interface HttpReply {
  status: number;
  headers: Headers;
  body: string;
}

export interface HttpClient {
  /** Sends once. Throws TransportError unless a complete, readable reply arrives. */
  send(request: HttpRequest): Promise<HttpReply>;
  close(): Promise<void>;
}

export interface HttpClientOptions {
  timeoutMs: number;
  maxResponseBytes?: number;
  /** Connections per host. */
  connections?: number;
}

/** No complete reply arrived: refused, reset, timed out, not UTF-8, too large, or an invalid certificate. */
export class TransportError extends Error {
  override name = 'TransportError';
  readonly code: string;
  /** Retrying does not fix a certificate or a URL. */
  readonly permanent: boolean;
  constructor(code: string, message: string, permanent = false) {
    super(message);
    this.code = code;
    this.permanent = permanent;
  }
}

const NEVER_SENT = new Set(['ECONNREFUSED', 'ENOTFOUND', 'EAI_AGAIN', 'UND_ERR_CONNECT_TIMEOUT', 'exec']);

/** Whether the request surely did not reach the server. */
export function wasNeverSent({ code, permanent }: TransportError): boolean {
  return NEVER_SENT.has(code) || (permanent && code !== 'too-large');
}

/** Longer than any judgement; 64 replies at once, parsing included, stay below 512 MiB. */
export const MAX_RESPONSE_BYTES = 4 * 1024 * 1024;

/** Opens a client. HTTP_PROXY, HTTPS_PROXY and NO_PROXY (either case) are honoured; certificates are always checked. */
export async function openHttpClient(options: HttpClientOptions): Promise<HttpClient> {
  const { EnvHttpProxyAgent, request } = await import('undici');
  const agent = new EnvHttpProxyAgent({
    connections: options.connections ?? 256,
    // The call's timer is the limit; undici's would abort a slow judge.
    headersTimeout: 0,
    bodyTimeout: 0,
    connect: { timeout: Math.min(options.timeoutMs, 30_000), rejectUnauthorized: true },
    requestTls: { rejectUnauthorized: true },
    proxyTls: { rejectUnauthorized: true },
    keepAliveTimeout: 30_000,
  });
  return {
    send: (call) => sendOnce(agent, request, options, call),
    close: () => agent.destroy(),
  };
}

type UndiciRequest = typeof import('undici').request;

async function sendOnce(agent: Dispatcher, request: UndiciRequest, limits: HttpClientOptions, call: HttpRequest) {
  const timeoutMs = call.timeoutMs ?? limits.timeoutMs;
  const abort = new AbortController();
  const timer = setTimeout(
    () => abort.abort(new TransportError('timeout', `no reply within ${timeoutMs} ms`)),
    timeoutMs,
  );
  const onOuterAbort = () => abort.abort(call.signal?.reason);
  if (call.signal?.aborted) onOuterAbort();
  call.signal?.addEventListener('abort', onOuterAbort, { once: true });
  try {
    const reply = await request(call.url, {
      dispatcher: agent,
      method: call.method ?? 'POST',
      headers: call.headers ?? {},
      body: call.body ?? null,
      signal: abort.signal,
    });
    const limit = call.maxResponseBytes ?? limits.maxResponseBytes ?? MAX_RESPONSE_BYTES;
    if (Number(reply.headers['content-length']) > limit) {
      reply.body.on('error', () => {}).destroy();
      throw tooLarge(limit);
    }
    return { status: reply.statusCode, headers: reply.headers, body: await readText(reply.body, limit) };
  } catch (cause) {
    throw asTransportError(abort.signal.aborted ? abort.signal.reason : cause);
  } finally {
    clearTimeout(timer);
    call.signal?.removeEventListener('abort', onOuterAbort);
  }
}

function tooLarge(limit: number): TransportError {
  return new TransportError('too-large', `the reply is larger than ${limit} bytes`, true);
}

async function readText(body: AsyncIterable<Buffer>, limit: number): Promise<string> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of body) {
    size += chunk.length;
    if (size > limit) throw tooLarge(limit);
    chunks.push(chunk);
  }
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks));
  } catch {
    throw new TransportError('not-utf8', `the reply (${count(size, 'byte')}) is not UTF-8`);
  }
}

const CERTIFICATE = /CERT|SELF_SIGNED|UNABLE_TO_(GET|VERIFY)|ERR_TLS|EPROTO|ERR_SSL/;

function asTransportError(cause: unknown): TransportError {
  if (cause instanceof TransportError) return cause;
  const { code: given = 'network', message = String(cause) } = (cause ?? {}) as { code?: unknown; message?: string };
  const code = String(given);
  const isPermanent = CERTIFICATE.test(code) || code === 'UND_ERR_INVALID_ARG' || code === 'ERR_INVALID_URL';
  return new TransportError(code, `${message === '' ? code : message}${adviceFor(code)}`, isPermanent);
}

function adviceFor(code: string): string {
  if (code === 'ENOTFOUND' || code === 'EAI_AGAIN')
    return ': no network, another name of the host, or a proxy is needed (HTTPS_PROXY)';
  return CERTIFICATE.test(code) ? ': NODE_EXTRA_CA_CERTS=FILE adds a certificate authority' : '';
}
