// SPDX-License-Identifier: Apache-2.0
// exec:CMD: a judge that is any command. One child per run: one JSON request per line on its stdin, one JSON
// reply per line on its stdout, in any order, joined by id. Each line that it writes to stderr is a warning.
import { type ChildProcess, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { createReadStream, statSync } from 'node:fs';
import type { Readable } from 'node:stream';
import { type Attempt, failed, readUsage } from '../../../http/attempt.ts';
import { fieldsOf } from '../../../http/chat.ts';
import { TransportError } from '../../../http/client.ts';
import { modelInfo } from '../../../http/model-info.ts';
import { RunError } from '../../../records/error.ts';
import type { Outcome } from '../../../records/record.ts';
import type { Judge, JudgeRequest } from '../judge.ts';
import { toJsonSchema } from '../schema.ts';
import type { JudgeOptions, OwnProvider } from './provider.ts';

/** The time limit of a request, and the callbacks for replies without a request and for stderr lines. */
type ExecOptions = Pick<JudgeOptions, 'timeoutMs' | 'warn'>;

/** Maximum consecutive deaths without a reply; then the child is not restarted. */
const MAX_DEATHS = 3;
const MAX_REPLY_BYTES = 64 * 1024 * 1024;
const OUTCOMES: ReadonlySet<string> = new Set([
  'refused',
  'truncated',
  'empty',
  'rate-limited',
  'quota-exhausted',
  'auth',
  'invalid',
  'transport',
]);

/** Opens the judge. The child starts with the first request. */
export async function execJudge(command: string, options: ExecOptions): Promise<Judge> {
  const child = new JudgeChild(command, options);
  return {
    name: `exec:${command}`,
    identity: { provider: 'exec', command, files: await namedFiles(command) },
    imageLimits: { mediaTypes: [], maxBytes: Number.POSITIVE_INFINITY },
    imageTokens: () => 0,
    reasoningTokens: 0,
    info: modelInfo(''),
    seesRecord: true,
    ask: (request, signal) => child.ask(request, signal),
    close: () => child.close(),
  };
}

/** Hashes of the files named in the command line, so an edited script gets new cache entries. */
async function namedFiles(command: string): Promise<Record<string, string>> {
  const files: Record<string, string> = {};
  for (const word of command.split(/[\s'"]+/)) {
    if (word === '' || !statSync(word, { throwIfNoEntry: false })?.isFile()) continue;
    const hash = createHash('sha256');
    for await (const chunk of createReadStream(word)) hash.update(chunk as Buffer);
    files[word] = hash.digest('hex');
  }
  return files;
}

interface Pending {
  resolve(attempt: Attempt): void;
  reject(cause: unknown): void;
}

/** The child process and its pending requests. */
class JudgeChild {
  readonly #command: string;
  readonly #options: ExecOptions;
  readonly #pending = new Map<string, Pending>();
  /** Abandoned requests, whose replies may still arrive. */
  readonly #withdrawn = new Set<string>();
  #child: ChildProcess | undefined;
  #deaths = 0;
  #nextId = 0;
  #broken: RunError | undefined;
  #isClosing = false;

  constructor(command: string, options: ExecOptions) {
    this.#command = command;
    this.#options = options;
  }

  ask(request: JudgeRequest, signal: AbortSignal): Promise<Attempt> {
    if (this.#broken) return Promise.reject(this.#broken);
    const id = String(this.#nextId++);
    return new Promise((resolve, reject) => {
      const { timeoutMs } = this.#options;
      const timer = setTimeout(() => {
        this.#pending.delete(id);
        reject(new TransportError('timeout', `the judge gave no reply within ${timeoutMs} ms`));
        this.#restart();
      }, timeoutMs);
      const onAbort = () => {
        this.#withdrawn.add(id);
        settle(() => reject(new TransportError('aborted', 'stopped')));
      };
      const settle = (fn: () => void) => {
        clearTimeout(timer);
        signal.removeEventListener('abort', onAbort);
        this.#pending.delete(id);
        fn();
      };
      signal.addEventListener('abort', onAbort, { once: true });
      this.#pending.set(id, {
        resolve: (attempt) => settle(() => resolve(attempt)),
        reject: (cause) => settle(() => reject(cause)),
      });
      this.#start().stdin!.write(`${JSON.stringify(requestLine(id, request))}\n`);
    });
  }

  async close(): Promise<void> {
    this.#isClosing = true;
    const child = this.#child;
    if (child === undefined) return;
    const ended = new Promise<void>((resolve) => child.once('close', () => resolve()));
    child.stdin!.end();
    const patience = setTimeout(() => killGroup(child), 2000);
    await ended;
    clearTimeout(patience);
  }

  #start(): ChildProcess {
    if (this.#child) return this.#child;
    // A separate process group, so processes that the shell started end with it.
    const child = spawn('/bin/sh', ['-c', this.#command], { stdio: 'pipe', detached: true });
    this.#child = child;
    child.stdin!.on('error', () => {});
    child.on('error', (cause) => this.#break(new RunError('exec', `cannot start the judge: ${cause.message}`)));
    child.on('close', (code, signal) => this.#onClose(child, code, signal));
    this.#readLines(child);
    // Print its stderr line by line, without terminal control sequences.
    eachLine(child.stderr!, (line) => this.#options.warn(`judge: ${line}`));
    return child;
  }

  #readLines(child: ChildProcess): void {
    let chunks: Buffer[] = [];
    let size = 0;
    child.stdout!.on('data', (chunk: Buffer) => {
      if (child !== this.#child) return;
      let from = 0;
      for (let end = chunk.indexOf(10); end !== -1; end = chunk.indexOf(10, from)) {
        const line = Buffer.concat([...chunks, chunk.subarray(from, end)]);
        chunks = [];
        size = 0;
        from = end + 1;
        this.#onLine(line);
      }
      chunks.push(chunk.subarray(from));
      size += chunk.length - from;
      if (size > MAX_REPLY_BYTES) this.#break(new RunError('exec', `a reply line over ${MAX_REPLY_BYTES} bytes`));
    });
  }

  #onLine(line: Buffer): void {
    if (line.length === 0) return;
    const reply = parseLine(line);
    if (reply === undefined) {
      const shown = JSON.stringify(line.toString('latin1').slice(0, 80));
      this.#break(new RunError('exec', `judge stdout: expected one JSON object per line, got ${shown}`));
      return;
    }
    const pending = this.#pending.get(String(reply.id));
    this.#deaths = 0;
    if (pending) pending.resolve(readReply(reply));
    else if (!this.#withdrawn.delete(String(reply.id)))
      this.#options.warn(`judge reply with id ${JSON.stringify(reply.id)} answers no open request`);
  }

  #onClose(child: ChildProcess, code: number | null, signal: string | null): void {
    if (child !== this.#child) return;
    this.#child = undefined;
    const how = signal === null ? `exit status ${code}` : `signal ${signal}`;
    this.#deaths += 1;
    if (code === 126 || code === 127) {
      this.#break(new RunError('exec', `cannot run the judge (${how}): ${this.#command}`));
    } else if (this.#deaths >= MAX_DEATHS && !this.#isClosing) {
      this.#break(new RunError('exec', `the judge exited ${MAX_DEATHS} times without a reply, last with ${how}`));
    } else this.#failAll(new TransportError('exec', `the judge exited (${how}) before it replied`));
  }

  /** A hanging judge also blocks the requests behind. */
  #restart(): void {
    const child = this.#child;
    if (child === undefined) return;
    this.#child = undefined;
    killGroup(child);
    this.#failAll(new TransportError('exec', 'the judge was restarted after a request without a reply'));
  }

  #break(cause: RunError): void {
    this.#broken = cause;
    if (this.#child) killGroup(this.#child);
    this.#failAll(cause);
  }

  #failAll(cause: unknown): void {
    for (const pending of [...this.#pending.values()]) pending.reject(cause);
  }
}

const MAX_SHOWN = 16 * 1024;

/** Calls back per line of a stream, including an unterminated last line; a very long line comes in pieces. */
function eachLine(stream: Readable, hear: (line: string) => void): void {
  let held = '';
  stream.setEncoding('utf8').on('data', (text: string) => {
    const lines = (held + text).split(/\r?\n|\r/);
    held = lines.pop()!;
    if (held.length > MAX_SHOWN) lines.push(held.slice(0, MAX_SHOWN));
    if (held.length > MAX_SHOWN) held = held.slice(MAX_SHOWN);
    for (const line of lines) if (line.trim() !== '') hear(line);
  });
  stream.on('end', () => {
    if (held.trim() !== '') hear(held);
  });
}

/** The object on a line of stdout, or undefined. */
function parseLine(line: Buffer): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(line));
    const isObject = typeof value === 'object' && value !== null && !Array.isArray(value);
    return isObject ? (value as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}

function killGroup(child: ChildProcess): void {
  try {
    process.kill(-child.pid!, 'SIGKILL');
  } catch {
    child.kill('SIGKILL');
  }
}

/** The request as the child reads it: man vpref-annotate documents each field. */
function requestLine(id: string, request: JudgeRequest): Record<string, unknown> {
  const { about, parameters } = request;
  return {
    id,
    guide: about.guide,
    run: about.run,
    ...(about.turn === undefined ? {} : { turn: about.turn }),
    ...(request.system === undefined ? {} : { system: request.system }),
    messages: request.turns.map((turn) => ({ role: turn.role, content: turn.text })),
    images: request.images,
    answers: about.answers,
    ...(request.schema && { schema: toJsonSchema(request.schema) }),
    max_tokens: parameters.maxTokens,
    ...(parameters.temperature === undefined ? {} : { temperature: parameters.temperature }),
    ...(parameters.seed === undefined ? {} : { seed: parameters.seed }),
    record: about.record,
  };
}

/** `{id, text}`, `{id, reply: {...}}` or `{id, outcome, message}`; `usage` and `model` if the judge has them. */
function readReply(reply: Record<string, unknown>): Attempt {
  const about: Partial<Attempt> = {};
  if (typeof reply.model === 'string') about.model = reply.model;
  const { input_tokens: input, output_tokens: output } = fieldsOf(reply.usage);
  const usage = readUsage({ input, output });
  if (usage) about.usage = usage;
  const { outcome = 'ok', message } = reply;
  if (outcome !== 'ok') {
    if (!OUTCOMES.has(String(outcome)))
      return failed('invalid', `judge reply: unknown outcome ${JSON.stringify(outcome)}`, about);
    const kind = outcome as Exclude<Outcome, 'ok'>;
    const isFatal = kind === 'auth' || kind === 'quota-exhausted';
    const retry = kind === 'transport' || kind === 'rate-limited';
    return failed(kind, typeof message === 'string' ? message : `the judge reported ${kind}`, {
      ...about,
      retry,
      fatal: isFatal,
    });
  }
  const text =
    typeof reply.text === 'string' ? reply.text : reply.reply === undefined ? '' : JSON.stringify(reply.reply);
  return text.trim() === '' ? failed('empty', 'no text in the reply', about) : { outcome: 'ok', text, ...about };
}

export const exec: OwnProvider = { operand: 'CMD', open: execJudge };
