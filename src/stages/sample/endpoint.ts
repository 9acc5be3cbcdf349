// SPDX-License-Identifier: Apache-2.0
// sample --endpoint: responses from an OpenAI-compatible server instead of the engine.

import { mapOrdered } from '../../flow/ordered.ts';
import { pixelFault } from '../../flow/pixel-fault.ts';
import { type Row, type RowResult, rowError, type Stage } from '../../flow/stage.ts';
import { CHAT_IMAGES, type ChatChoice, type ChatMessage, endOf } from '../../http/chat.ts';
import { FlowControl, type RunSignals } from '../../http/flow.ts';
import { type ImagePart, loadImageParts } from '../../http/image-part.ts';
import { FatalCallError } from '../../http/retry.ts';
import { count } from '../../records/count.ts';
import { generatedSpans } from '../../records/dialogue.ts';
import { FieldError, placed, RecordError, RunError } from '../../records/error.ts';
import { placeImages } from '../../records/prompt.ts';
import { randomStream } from '../../records/random.ts';
import type { Message, Response, VprefRecord } from '../../records/record.ts';
import { recordedSettings, SAMPLING_SETTINGS } from '../../records/sampling-settings.ts';
import { ORIGINAL_VIEW, type ViewInputs, viewInputs } from '../../records/view.ts';
import { renderedImages } from '../augment/render.ts';
import { type EndpointOptions, type EndpointSampling, EndpointServer } from './endpoint-server.ts';
import { recordSamplingParams } from './sampling-params.ts';

/** The control flow of an endpoint run. */
export function endpointFlow(concurrency: number): FlowControl {
  return new FlowControl({ concurrency });
}

/** After a stop signal, running calls may still finish within this time. */
const GRACE_MS = 5000;

/** Adds responses to each record. A refused key or model stops the run; other failures fail only the row. */
export function sampleEndpoint(options: EndpointOptions): Stage {
  return async function* (rows) {
    const sampler = new EndpointSampler(options);
    try {
      yield* mapOrdered(rows, {
        window: options.window,
        held: HELD,
        graceMs: GRACE_MS,
        signal: options.signal,
        start: (row) => sampler.row(row),
        stop: sampler.signals.stop,
        abort: sampler.signals.abort,
      });
    } finally {
      if (sampler.numWithoutLogps > 0)
        options.warn(
          `${count(sampler.numWithoutLogps, 'response has', 'responses have')} no endpoint_logps: the server gave no number for some of their tokens`,
        );
    }
  };
}

/** Rows that may wait behind a call that hangs until its time limit; other calls continue meanwhile. */
const HELD = { rows: 1024, bytes: 64 * 1024 * 1024 };

/** One sample and its generated turns so far. */
interface Branch {
  view: string;
  index: number;
  messages: ChatMessage[];
  turns: string[];
  choice?: ChatChoice;
  /** Sum over all turns; undefined if a turn has none. */
  logps: number | undefined;
  seed: number;
}

class EndpointSampler {
  readonly #options: EndpointOptions;
  readonly #server: EndpointServer;
  /** Responses with missing or incomplete log-probabilities, although requested. */
  numWithoutLogps = 0;

  constructor(options: EndpointOptions) {
    this.#options = options;
    this.#server = new EndpointServer(options);
  }

  get signals(): RunSignals {
    return this.#server.signals;
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
    if (sampling.logprobs) this.numWithoutLogps += branches.flat().filter(({ logps }) => logps === undefined).length;
    const { record } = row;
    return {
      ...record,
      responses: [...(record.responses ?? []), ...responses],
      sampling: {
        model: sampling.model,
        // Do not record a parameter that the server refused.
        ...Object.fromEntries(
          Object.entries(recordedSettings(sampling)).filter(([name]) => !this.#server.refuses(name)),
        ),
        ...(sampling.stop.length > 0 && { stop: sampling.stop }),
        seed: sampling.seed,
      },
    };
  }

  /** n samples of one view, turn by turn: one request for the first open turn, then one request per sample and turn. */
  async #sampleView(row: Row, view: WantedView, sampling: EndpointSampling): Promise<Branch[]> {
    const images = await loadImageParts(
      await renderedImages(view).catch((cause) => Promise.reject(pixelFault(row, cause))),
      CHAT_IMAGES,
    );
    const spans = generatedSpans(placeImages(row.record.prompt, images.length), (message) => message.content === null);
    const random = randomStream(sampling.seed, row.record.id, 'sample-endpoint', view.name);
    const messages = fillImages(spans, images);
    const first = messages[0]!;
    const seed = random.nextInt(2 ** 31);
    const choices = await this.#server.choices(row, first, sampling, { n: sampling.numSamples, seed });
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
          const [choice] = await this.#server.choices(row, branch.messages, sampling, {
            n: 1,
            seed: turnSeed.nextInt(2 ** 31),
          });
          answered(branch, choice!);
        }),
      );
    }
    return branches;
  }
}

function answered(branch: Branch, choice: ChatChoice): Branch {
  branch.turns.push(choice.text);
  branch.choice = choice;
  branch.logps = branch.logps === undefined || choice.logps === undefined ? undefined : branch.logps + choice.logps;
  return branch;
}

function response(branch: Branch, sampling: EndpointSampling): Response {
  const { choice, turns } = branch;
  const made: Response = {
    text: turns.at(-1)!,
    ...(turns.length > 1 ? { turns } : {}),
    view: branch.view,
    ...(sampling.label === undefined ? {} : { label: sampling.label }),
    ...finishReason(choice!),
    seed: branch.seed,
  };
  // Not named `logps`, because a server omits the end token and may apply its temperature.
  if (branch.logps !== undefined) {
    made.endpoint_logps = branch.logps;
    // Belongs to the last turn, as `text` does.
    made.endpoint_per_token_logps = choice!.perTokenLogps!;
    made.endpoint_tokens = choice!.tokens!;
  }
  if (choice!.numTokens !== undefined) made.num_tokens = choice!.numTokens;
  return made;
}

/** If the server gives no finish reason, the record has none either. */
function finishReason(choice: ChatChoice): Pick<Response, 'finish_reason'> {
  const end = endOf(choice);
  if (choice.refusal !== undefined || end === 'filtered') return { finish_reason: 'error' };
  if (end === 'none') return {};
  return { finish_reason: end === 'length' ? 'length' : 'stop' };
}

interface WantedView extends ViewInputs {
  name: string;
}

/** The images of each wanted view. Throws RecordError for a view that only the engine can render. */
function wantedViews(row: Row, wanted: string): WantedView[] {
  const { record } = row;
  const names = wanted === 'all' ? [ORIGINAL_VIEW, ...(record.views ?? []).map((view) => view.name)] : [wanted];
  return names.map((name) => {
    const { noise, ...inputs } = viewInputs(record, name);
    if (noise === undefined) return { name, ...inputs };
    throw new RecordError(row, `views.${name}`, 'image files (an endpoint cannot apply a recipe)', 'diffusion');
  });
}

/** The record's sampling_params over those of the command line. */
function withRecordParams(row: Row, sampling: EndpointSampling): EndpointSampling {
  const params = recordSamplingParams(row, sampling);
  for (const { name, field, atEndpoint, default: off } of SAMPLING_SETTINGS) {
    if (!atEndpoint && params[name] !== off)
      throw new RecordError(
        row,
        `sampling_params.${field}`,
        `${off} (an endpoint does not take it)`,
        String(params[name]),
      );
  }
  return { ...sampling, ...params };
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
