// SPDX-License-Identifier: Apache-2.0
// Responses from an OpenAI-compatible server: requests, checks of a complete response, repeated requests.
import type { Row } from '../../flow/stage.ts';
import { cutAtStop, failed, withoutSecrets } from '../../http/attempt.ts';
import {
  type ChatChoice,
  type ChatMessage,
  type ChatParameters,
  type ChatReply,
  chatBody,
  endOf,
  readChatReply,
} from '../../http/chat.ts';
import { type HttpClient, MAX_RESPONSE_BYTES } from '../../http/client.ts';
import { type Clock, type FlowControl, monotonicClock, type RunSignals, runSignals } from '../../http/flow.ts';
import { type ModelInfo, modelInfo } from '../../http/model-info.ts';
import { RefusedParameters } from '../../http/refused-parameters.ts';
import { callWithRetries } from '../../http/retry.ts';
import { RunError } from '../../records/error.ts';
import { randomStream } from '../../records/random.ts';
import { headerSecrets, versionHint } from '../../records/server-url.ts';
import type { SamplingParams } from './sampling-params.ts';

/** How to sample. A record's sampling_params override these. Settings that a server does not take are at their defaults. */
export interface EndpointSampling extends SamplingParams {
  model: string;
  seed: number;
  /** Request log-probabilities, stored in `endpoint_logps`. */
  logprobs?: boolean | undefined;
  /** `original`, `all` (original and every view), or one view's name. */
  views: string;
  label?: string | undefined;
}

export interface EndpointOptions {
  client: HttpClient;
  /** URL with its version part: http://host:8000/v1. */
  baseUrl: string;
  /** Sent as a bearer token, if set. */
  key?: string | undefined;
  /** Authorization header from a URL with a login. */
  login?: { authorization?: string } | undefined;
  sampling: EndpointSampling;
  flow: FlowControl;
  clock?: Clock | undefined;
  maxAttempts: number;
  maxDelayMs: number;
  /** Maximum concurrent rows. */
  window: number;
  signal?: AbortSignal | undefined;
  /** Called for parameters that the server refuses and data that it omits. */
  warn(message: string): void;
}

/** The server and the parameters that it refused; one per run. */
export class EndpointServer {
  readonly #options: EndpointOptions;
  readonly #clock: Clock;
  readonly #url: string;
  readonly #headers: Record<string, string>;
  readonly #secrets: string[];
  readonly #info: ModelInfo;
  readonly #refused: RefusedParameters;
  readonly signals: RunSignals;

  constructor(options: EndpointOptions) {
    this.#options = options;
    this.#clock = options.clock ?? monotonicClock;
    this.signals = runSignals(options.flow);
    const { baseUrl, key, login = {}, sampling } = options;
    this.#url = `${baseUrl.replace(/\/+$/, '').replace(/\/chat\/completions$/, '')}/chat/completions`;
    this.#headers = {
      'content-type': 'application/json',
      ...login,
      ...(key === undefined ? {} : { authorization: `Bearer ${key}` }),
    };
    this.#secrets = headerSecrets(this.#headers);
    this.#info = modelInfo(sampling.model);
    this.#refused = new RefusedParameters(options.warn);
  }

  /** Whether the server refused a parameter, so it sampled without it. */
  refuses(parameter: string): boolean {
    return this.#refused.has(parameter);
  }

  /** n responses to one prompt. Repeats the request if a server returns fewer than requested. */
  async choices(row: Row, messages: ChatMessage[], sampling: EndpointSampling, wanted: { n: number; seed: number }) {
    const choices: ChatChoice[] = [];
    while (choices.length < wanted.n) {
      const seed = (wanted.seed + choices.length) % 2 ** 31;
      const reply = await this.#call(row, messages, {
        ...chatParameters(sampling),
        n: wanted.n - choices.length,
        seed,
      });
      if (reply.choices.length === 0) throw new RunError(reply.outcome, reply.message ?? 'no answer');
      choices.push(...reply.choices.slice(0, wanted.n - choices.length).map((choice) => usable(choice, sampling)));
    }
    return choices;
  }

  async #call(row: Row, messages: ChatMessage[], parameters: ChatParameters): Promise<ChatReply> {
    const { baseUrl, client, flow, maxAttempts, maxDelayMs } = this.#options;
    const asked = chatBody(messages, {
      ...parameters,
      maxTokensField: this.#info.maxTokensField ?? 'max_tokens',
      stop: this.#info.stop ? parameters.stop : undefined,
    });
    const backoff = randomStream(this.#options.sampling.seed, row.record.id, 'backoff', String(parameters.seed));
    let last: ChatReply = { ...failed('transport', 'never sent'), choices: [] };
    const attempt = await callWithRetries(
      0,
      async () => {
        const sent = this.#refused.apply(asked);
        const reply = await client.send({
          ...{ url: this.#url, headers: this.#headers, body: JSON.stringify(sent), signal: this.signals.aborted },
          maxResponseBytes: bodyLimit(parameters),
        });
        last = withoutSecrets(readChatReply(reply), this.#secrets);
        if (reply.status === 404) last.message += versionHint(baseUrl, '--endpoint');
        return this.#refused.learn(last, reply, sent);
      },
      {
        ...{ who: baseUrl, flow, clock: this.#clock, maxAttempts, maxDelayMs, signal: this.signals.stopped },
        nextFloat: backoff.nextFloat,
      },
    );
    // A cut, empty or filtered response counts too: its finish_reason records why.
    if (last.choices.length > 0 && attempt.outcome === last.outcome) return last;
    throw new RunError(attempt.outcome === 'ok' ? 'empty' : attempt.outcome, attempt.message ?? 'no answer');
  }
}

function chatParameters(sampling: EndpointSampling): ChatParameters {
  return {
    model: sampling.model,
    maxTokens: sampling.maxNewTokens,
    temperature: sampling.temperature,
    // Neutral values are not sent, because OpenAI's server refuses top_k.
    topP: sampling.topP === 1 ? undefined : sampling.topP,
    topK: sampling.topK === 0 ? undefined : sampling.topK,
    stop: sampling.stop,
    logprobs: sampling.logprobs,
  };
}

/** Maximum bytes of a token's log-probability and text in JSON. */
const LOGPROB_BYTES = 512;
const TOKEN_BYTES = 16;

function bodyLimit({ n = 1, maxTokens = 0, logprobs }: ChatParameters): number {
  return MAX_RESPONSE_BYTES + n * maxTokens * (logprobs ? LOGPROB_BYTES : TOKEN_BYTES);
}

/**
 * The response as a record stores it. Throws RunError if there is no text, or if the finish reason says it is incomplete.
 * Removes one leading blank, which the template writes and some servers return. The engine removes it too.
 */
function usable(choice: ChatChoice, { stop }: EndpointSampling): ChatChoice {
  const end = endOf(choice);
  if (choice.refusal === undefined && end !== 'filtered') {
    const why = `finish_reason ${choice.finishReason}`;
    if (end === 'broken') throw new RunError('transport', `the server stopped early (${why})`);
    if (choice.isMissing || (end === 'none' && choice.text === ''))
      throw new RunError(end === 'length' ? 'truncated' : 'empty', `no text in the reply (${why})`);
    if (end === 'other')
      throw new RunError(
        'invalid',
        `finish_reason: expected stop or length, got ${JSON.stringify(choice.finishReason)}`,
      );
  }
  const whole = { ...choice, text: choice.text.replace(/^ /, '') };
  const cut = cutAtStop(whole, stop);
  if (cut === whole) return whole;
  // The sum covers more tokens than the remaining text.
  const { logps: _, numTokens: __, perTokenLogps: ___, tokens: ____, ...rest } = cut;
  return { ...rest, finishReason: 'stop' };
}
