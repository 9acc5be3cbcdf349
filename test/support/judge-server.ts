// SPDX-License-Identifier: Apache-2.0
// A real HTTP server on loopback that speaks Gemini's, OpenAI's and Anthropic's documented shapes, with faults on demand.
import { createHash } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

export type Api = 'gemini' | 'openai' | 'anthropic';

/** One call as the server sees it. */
export interface Seen {
  api: Api;
  /** All text of the prompt. */
  prompt: string;
  /** SHA-256 of the body. */
  digest: string;
  body: Record<string, unknown>;
  headers: IncomingMessage['headers'];
  /** 1 for the first call with this body. */
  attempt: number;
}

/** What the server does with a call. */
export type Behaviour =
  | { text: string }
  | { json: unknown; status?: number; headers?: Record<string, string> }
  | { raw: Buffer; status?: number; headers?: Record<string, string> }
  | { fault: Fault };

export type Fault = 'reset' | 'reset-in-body' | 'trickle' | 'flood';

export interface JudgeServer {
  url: string;
  /** Base URL with its version part. */
  base(api: Api): string;
  calls: Seen[];
  /** Bodies that were answered with status 200 and sent whole. */
  answered: Map<string, number>;
  most: { running: number };
  close(): Promise<void>;
}

const PREFIX: Record<Api, string> = { gemini: '/v1beta', openai: '/v1', anthropic: '/anthropic/v1' };

/** Starts the server. `behave` decides on each call. */
export async function startJudgeServer(
  behave: (call: Seen) => Behaviour | Promise<Behaviour>,
  { keepCalls = true } = {},
): Promise<JudgeServer> {
  const calls: Seen[] = [];
  const answered = new Map<string, number>();
  const attempts = new Map<string, number>();
  const most = { running: 0 };
  let running = 0;
  const server = createServer(async (request, response) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk);
    const text = Buffer.concat(chunks).toString('utf8');
    const api = apiOf(request.url ?? '');
    if (api === undefined) return void response.writeHead(404).end('{"error":{"message":"no such path"}}');
    const digest = createHash('sha256').update(text).digest('hex');
    const attempt = (attempts.get(digest) ?? 0) + 1;
    attempts.set(digest, attempt);
    const body = JSON.parse(text);
    const call: Seen = { api, prompt: promptText(api, body), digest, body, headers: request.headers, attempt };
    if (keepCalls) calls.push(call);
    running += 1;
    most.running = Math.max(most.running, running);
    try {
      await reply(response, api, await behave(call), () => answered.set(digest, (answered.get(digest) ?? 0) + 1));
    } finally {
      running -= 1;
    }
  });
  await listen(server);
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return { url, base: (api) => url + PREFIX[api], calls, answered, most, close: () => closeServer(server) };
}

export async function listen(server: Server): Promise<void> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
}

export async function closeServer(server: Server): Promise<void> {
  server.closeAllConnections();
  await new Promise<void>((resolve) => server.close(() => resolve()));
}

function apiOf(path: string): Api | undefined {
  if (/^\/v1beta\/models\/[^/]+:generateContent$/.test(path)) return 'gemini';
  if (path === '/v1/chat/completions') return 'openai';
  return path === '/anthropic/v1/messages' ? 'anthropic' : undefined;
}

type Parts = string | { text?: string }[] | null;

function promptText(api: Api, body: Record<string, unknown>): string {
  const text = (parts: Parts): string =>
    typeof parts === 'string' ? parts : (parts ?? []).map((part) => part.text ?? '').join('');
  if (api === 'gemini') return (body.contents as { parts: Parts }[]).map((turn) => text(turn.parts)).join('\n');
  return (body.messages as { content: Parts }[]).map((turn) => text(turn.content)).join('\n');
}

async function reply(response: ServerResponse, api: Api, behaviour: Behaviour, onWhole: () => void): Promise<void> {
  if ('fault' in behaviour) return breakOff(response, behaviour.fault);
  if ('text' in behaviour) {
    onWhole();
    send(response, 200, {}, Buffer.from(JSON.stringify(answerBody(api, behaviour.text))));
    return;
  }
  const { status = 200, headers = {} } = behaviour;
  send(response, status, headers, 'raw' in behaviour ? behaviour.raw : Buffer.from(JSON.stringify(behaviour.json)));
}

function send(response: ServerResponse, status: number, headers: Record<string, string>, body: Buffer): void {
  response.writeHead(status, { 'content-type': 'application/json', 'content-length': body.length, ...headers });
  response.end(body);
}

async function breakOff(response: ServerResponse, fault: Fault): Promise<void> {
  if (fault === 'reset') return void response.socket?.destroy();
  if (fault === 'flood') return flood(response);
  response.writeHead(200, { 'content-type': 'application/json', 'content-length': 1000 });
  response.write('{"choices": [{"mess');
  if (fault === 'reset-in-body') {
    await new Promise((resolve) => setTimeout(resolve, 5));
    return void response.socket?.destroy();
  }
  // A byte now and then: alive, but never done in time.
  await new Promise<void>((resolve) => {
    const timer = setInterval(() => response.write(' '), 20);
    response.on('close', () => {
      clearInterval(timer);
      resolve();
    });
  });
}

/** A body without end. */
async function flood(response: ServerResponse): Promise<void> {
  response.writeHead(200, { 'content-type': 'application/json' });
  const chunk = Buffer.alloc(64 * 1024, 'x');
  while (!response.destroyed) {
    if (response.write(chunk)) await new Promise((resolve) => setImmediate(resolve));
    else
      await new Promise<void>((resolve) => {
        const next = () => {
          response.off('drain', next).off('close', next);
          resolve();
        };
        response.on('drain', next).on('close', next);
      });
  }
}

/** A whole answer of the API. */
export function answerBody(api: Api, text: string): object {
  if (api === 'gemini') {
    return {
      candidates: [{ content: { role: 'model', parts: [{ text }] }, finishReason: 'STOP', index: 0 }],
      usageMetadata: { promptTokenCount: 100, candidatesTokenCount: 20, totalTokenCount: 120 },
      modelVersion: 'gemini-test-001',
      responseId: 'r-1',
    };
  }
  if (api === 'openai') {
    return {
      id: 'chatcmpl-1',
      object: 'chat.completion',
      model: 'gpt-test-2025',
      choices: [{ index: 0, message: { role: 'assistant', content: text, refusal: null }, finish_reason: 'stop' }],
      usage: { prompt_tokens: 100, completion_tokens: 20, total_tokens: 120 },
    };
  }
  return {
    id: 'msg_1',
    type: 'message',
    role: 'assistant',
    model: 'claude-test-1',
    content: [{ type: 'text', text }],
    stop_reason: 'end_turn',
    usage: { input_tokens: 100, output_tokens: 20 },
  };
}

/** The answers of a helpsteer prompt by label. */
export function shownAnswers(prompt: string): { label: string; text: string }[] {
  const blocks = prompt.matchAll(/^Answer ([A-Z]):\n([\s\S]*?)\n\(end of answer \1\)$/gm);
  return [...blocks].map((match) => ({ label: match[1]!, text: match[2]! }));
}

/** A helpsteer reply that grades each answer by a function of its text and place. */
export function helpsteerReply(prompt: string, grade: (text: string, place: number) => number): string {
  const ratings = shownAnswers(prompt).map(({ label, text }, place) => {
    const value = grade(text, place);
    return [
      label,
      { comment: 'c', helpfulness: value, correctness: value, coherence: value, complexity: 1, verbosity: 2 },
    ];
  });
  return JSON.stringify({ own_response: 'my own answer', ratings: Object.fromEntries(ratings) });
}

/** A number from a text, the same in every process. */
export function textNumber(text: string, size: number): number {
  return createHash('sha256').update(text).digest().readUInt32LE(0) % size;
}
