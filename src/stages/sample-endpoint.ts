// SPDX-License-Identifier: Apache-2.0
// sample --endpoint: responses from an OpenAI-compatible server instead of the engine.
import { failed, withoutSecrets } from '../http/attempt.ts';
import {
  CHAT_IMAGES,
  type ChatChoice,
  type ChatMessage,
  type ChatParameters,
  type ChatReply,
  chatBody,
  readChatReply,
} from '../http/chat.ts';
import type { HttpClient } from '../http/client.ts';
import { type Clock, FlowControl, monotonicClock, type RunSignals, runSignals } from '../http/flow.ts';
import { type ImagePart, loadImagePart } from '../http/image-part.ts';
import { callWithRetries, FatalCallError } from '../http/retry.ts';
import { generatedSpans } from '../records/dialogue.ts';
import { FieldError, placed, RecordError, RunError } from '../records/error.ts';
import { placeImages } from '../records/prompt.ts';
import { randomStream } from '../records/random.ts';
import type { Message, Response, VprefRecord } from '../records/record.ts';
import { ORIGINAL_VIEW, viewInputs } from '../records/view.ts';
import { type DrawOptions, recordDraw } from './draw.ts';
import { mapOrdered } from './ordered.ts';
import { type Row, type RowResult, rowError, type Stage } from './stage.ts';

/** How to draw; a record's own sampling_params go before it. A server does no beam search and stops no repetition. */
export interface EndpointSampling extends Omit<DrawOptions, 'beams' | 'repetitionMaxPeriod'> {
  model: string;
  seed: number;
  /** Ask for log-probabilities; they go into `endpoint_logps`. */
  logprobs?: boolean | undefined;
  /** `original`, `all` (original and every view), or one view's name. */
  views: string;
  label?: string | undefined;
}

export interface EndpointOptions {
  client: HttpClient;
  /** With its version part: http://host:8000/v1. */
  baseUrl: string;
  /** Sent as a bearer token when there is one. */
  key?: string | undefined;
  sampling: EndpointSampling;
  flow: FlowControl;
  clock?: Clock | undefined;
  maxAttempts: number;
  maxDelayMs: number;
  /** Rows under way at a time. */
  window: number;
  signal?: AbortSignal | undefined;
}

/** The flow of an endpoint run. */
export function endpointFlow(concurrency: number): FlowControl {
  return new FlowControl({ concurrency });
}

/** Calls under way at a stop may still come in for this long. */
const GRACE_MS = 5000;

/** Adds responses to each record. A key or model that the server refuses stops the run; other failures are the row's. */
export function sampleEndpoint(options: EndpointOptions): Stage {
  return (rows) => {
    const sampler = new EndpointSampler(options);
    return mapOrdered(rows, {
      window: options.window,
      graceMs: GRACE_MS,
      signal: options.signal,
      start: (row) => sampler.row(row),
      stop: sampler.signals.stop,
      abort: sampler.signals.abort,
    });
  };
}

/** One sample's way through the turns of its conversation. */
interface Branch {
  view: string;
  index: number;
  messages: ChatMessage[];
  turns: string[];
  choice?: ChatChoice;
  logps: number;
  seed: number;
}

class EndpointSampler {
  readonly #options: EndpointOptions;
  readonly #clock: Clock;
  readonly signals: RunSignals;

  constructor(options: EndpointOptions) {
    this.#options = options;
    this.#clock = options.clock ?? monotonicClock;
    this.signals = runSignals(options.flow);
  }

  async row(row: Row): Promise<RowResult> {
    try {
      return { row, records: [await this.#sample(row)] };
    } catch (cause) {
      const isRowsOwn = cause instanceof RecordError || cause instanceof RunError;
      if (cause instanceof FatalCallError || !isRowsOwn) throw cause;
      return { row, records: [], error: rowError(placed(row, cause)) };
    }
  }

  async #sample(row: Row): Promise<VprefRecord> {
    const sampling = withRecordParams(row, this.#options.sampling);
    const views = wantedViews(row, sampling.views);
    const branches = await Promise.all(views.map((view) => this.#sampleView(row, view, sampling)));
    const responses = branches.flat().map((branch) => response(branch, sampling));
    const { record } = row;
    return {
      ...record,
      responses: [...(record.responses ?? []), ...responses],
      sampling: {
        model: sampling.model,
        temperature: sampling.temperature,
        top_p: sampling.topP,
        top_k: sampling.topK,
        max_new_tokens: sampling.maxNewTokens,
        seed: sampling.seed,
      },
    };
  }

  /** n samples of one view, turn by turn: the first open turn in one request, the later ones each on its own. */
  async #sampleView(row: Row, view: WantedView, sampling: EndpointSampling): Promise<Branch[]> {
    const images = await Promise.all(
      view.images.map((image, index) => loadImagePart(image, CHAT_IMAGES, `images[${index}]`)),
    );
    const spans = generatedSpans(placeImages(row.record.prompt, images.length), (message) => message.content === null);
    const random = randomStream(sampling.seed, row.record.id, 'sample-endpoint', view.name);
    const messages = fillImages(spans, images);
    const first = messages[0]!;
    const seed = random.nextInt(2 ** 31);
    const choices = await this.#choices(row, first, sampling, { n: sampling.n, seed });
    const branches = choices.map((choice, index): Branch => {
      const branch: Branch = { view: view.name, index, messages: first, turns: [], logps: 0, seed };
      return answered(branch, choice);
    });
    for (const more of messages.slice(1)) {
      await Promise.all(
        branches.map(async (branch) => {
          branch.messages = [...branch.messages, { role: 'assistant', content: branch.turns.at(-1)! }, ...more];
          const turnSeed = randomStream(
            sampling.seed,
            row.record.id,
            'sample-endpoint',
            view.name,
            `${branch.index}`,
            `${branch.turns.length}`,
          );
          const [choice] = await this.#choices(row, branch.messages, sampling, {
            n: 1,
            seed: turnSeed.nextInt(2 ** 31),
          });
          answered(branch, choice!);
        }),
      );
    }
    return branches;
  }

  /** n answers to one prompt. Servers that give fewer than were asked for are asked again for the rest. */
  async #choices(row: Row, messages: ChatMessage[], sampling: EndpointSampling, draw: { n: number; seed: number }) {
    const choices: ChatChoice[] = [];
    while (choices.length < draw.n) {
      const seed = (draw.seed + choices.length) % 2 ** 31;
      const reply = await this.#call(row, messages, { ...chatParameters(sampling), n: draw.n - choices.length, seed });
      if (reply.choices.length === 0) throw new RunError(reply.outcome, reply.message ?? 'no answer');
      choices.push(...reply.choices.slice(0, draw.n - choices.length));
    }
    return choices;
  }

  async #call(row: Row, messages: ChatMessage[], parameters: ChatParameters): Promise<ChatReply> {
    const { baseUrl, key, client, flow, maxAttempts, maxDelayMs } = this.#options;
    const body = JSON.stringify(chatBody(messages, parameters));
    const headers = {
      'content-type': 'application/json',
      ...(key === undefined ? {} : { authorization: `Bearer ${key}` }),
    };
    const backoff = randomStream(this.#options.sampling.seed, row.record.id, 'backoff', String(parameters.seed));
    let last: ChatReply = { ...failed('transport', 'never sent'), choices: [] };
    const attempt = await callWithRetries(
      0,
      async () => {
        const sent = {
          url: `${baseUrl.replace(/\/+$/, '')}/chat/completions`,
          headers,
          body,
          signal: this.signals.aborted,
        };
        last = withoutSecrets(readChatReply(await client.send(sent)), [key]);
        return last;
      },
      {
        ...{ who: baseUrl, flow, clock: this.#clock, maxAttempts, maxDelayMs, signal: this.signals.stopped },
        nextFloat: backoff.nextFloat,
      },
    );
    // A cut, empty or filtered answer is an answer: the response says how it ended.
    if (last.choices.length > 0 && attempt.outcome === last.outcome) return last;
    throw new RunError(attempt.outcome === 'ok' ? 'empty' : attempt.outcome, attempt.message ?? 'no answer');
  }
}

function chatParameters(sampling: EndpointSampling): ChatParameters {
  return {
    model: sampling.model,
    maxTokens: sampling.maxNewTokens,
    temperature: sampling.temperature,
    // At their neutral values they are not sent: OpenAI's own server knows no top_k.
    topP: sampling.topP === 1 ? undefined : sampling.topP,
    topK: sampling.topK === 0 ? undefined : sampling.topK,
    stop: sampling.stop,
    logprobs: sampling.logprobs,
  };
}

function answered(branch: Branch, choice: ChatChoice): Branch {
  branch.turns.push(choice.text);
  branch.choice = choice;
  branch.logps += choice.logps ?? 0;
  return branch;
}

function response(branch: Branch, sampling: EndpointSampling): Response {
  const { choice, turns } = branch;
  const made: Response & { endpoint_logps?: number } = {
    text: turns.at(-1)!,
    ...(turns.length > 1 ? { turns } : {}),
    view: branch.view,
    ...(sampling.label === undefined ? {} : { label: sampling.label }),
    finish_reason: finishReason(choice!),
    seed: branch.seed,
  };
  if (choice!.logps !== undefined) {
    // Not `logps`: a server leaves the end token out, and its own temperature may be in.
    made.endpoint_logps = branch.logps;
    if (choice!.numTokens !== undefined) made.num_tokens = choice!.numTokens;
  }
  return made;
}

function finishReason(choice: ChatChoice): NonNullable<Response['finish_reason']> {
  if (choice.refusal !== undefined || choice.finishReason === 'content_filter') return 'error';
  return choice.finishReason === 'length' ? 'length' : 'stop';
}

interface WantedView {
  name: string;
  images: string[];
}

/** The images of each wanted view. Throws RecordError for a view that only the engine can make. */
function wantedViews(row: Row, wanted: string): WantedView[] {
  const { record } = row;
  const names = wanted === 'all' ? [ORIGINAL_VIEW, ...(record.views ?? []).map((view) => view.name)] : [wanted];
  return names.map((name) => {
    const { images, noise } = viewInputs(record, name);
    if (noise === undefined) return { name, images };
    throw new RecordError(row, `views.${name}`, 'image files (an endpoint cannot apply a recipe)', 'diffusion');
  });
}

/** The command line's parameters under the record's own sampling_params. */
function withRecordParams(row: Row, sampling: EndpointSampling): EndpointSampling {
  const { beams, repetitionMaxPeriod: _, ...draw } = recordDraw(row, { ...sampling, beams: 1, repetitionMaxPeriod: 0 });
  if (beams > 1)
    throw new RecordError(row, 'sampling_params.beams', '1 (an endpoint has no beam search)', String(beams));
  return { ...sampling, ...draw };
}

/** Image slots filled in order. */
function fillImages(spans: Message[][], images: ImagePart[]): ChatMessage[][] {
  let next = 0;
  return spans.map((span) =>
    span.map((message): ChatMessage => {
      const { content } = message;
      if (content === null || typeof content === 'string') return { role: message.role, content: content ?? '' };
      const parts = content.map((part) => {
        return part.type === 'text' ? part : { type: 'image' as const, image: imageAt(images, next++) };
      });
      return { role: message.role, content: parts };
    }),
  );
}

function imageAt(images: ImagePart[], index: number): ImagePart {
  const image = images[index];
  if (image === undefined)
    throw new FieldError('image', 'images', 'one for each <image> of the prompt', String(images.length));
  return image;
}
