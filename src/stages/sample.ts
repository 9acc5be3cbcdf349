// SPDX-License-Identifier: Apache-2.0
// sample: responses to each record's prompt, with its images or with views of them.
import type { Generated, ImageInput } from '../engine/requests.ts';
import { mapRowsInFlight } from '../flow/in-flight.ts';
import type { Row, Stage } from '../flow/stage.ts';
import type { ModelContext, RecordPlan } from '../model/context.ts';
import { loadImages, openTurns, preparePrompt } from '../model/prompt.ts';
import { planRecord, provenance } from '../model/record-plan.ts';
import { RecordError, RunError } from '../records/error.ts';
import { rngKey } from '../records/random.ts';
import type { Response, Sampling } from '../records/record.ts';
import { recordedSettings, samplingSettings } from '../records/sampling-settings.ts';
import { steerRequest, withRequest } from '../records/steerlm.ts';
import { ORIGINAL_VIEW, viewInputs } from '../records/view.ts';
import type { Turn } from '../text/chat-template.ts';
import { recordSamplingParams, type SamplingParams } from './sample/sampling-params.ts';

/** How to sample responses. A record's `sampling_params` override these, except views, label and seed. */
export interface SampleOptions extends SamplingParams {
  /** "original", "all" (the record's images and every view), or the name of a view. */
  views: string;
  label?: string;
  /** Whether to store each response's log-probability. */
  logps: boolean;
  /** SteerLM: attributes of the response that the last user turn asks for. */
  steer?: Record<string, number>;
  seed: number;
}

// One view of one record, while its responses are generated.
interface Job {
  row: Row;
  view: string;
  plan: RecordPlan;
  images: ImageInput[];
  params: SamplingParams;
  options: SampleOptions;
  context: ModelContext;
  signal: AbortSignal;
}

interface GeneratedResponse {
  text: string;
  generated: Generated;
  /** The text or token that ended it, if not its end token. */
  stop?: string;
  /** Texts of all generated turns, if there are several. */
  turns?: string[];
}

/** Adds `responses` and `sampling`. The n responses of a view share one prefill of its prompt. */
export function sample(options: SampleOptions, context: ModelContext): Stage {
  return mapRowsInFlight(async (row, signal) => {
    const params = recordSamplingParams(row, options);
    const plan = await planRecord(row, context);
    const views = viewNames(row, options.views);
    const images = await Promise.all(views.map((view) => loadImages(row, viewInputs(row.record, view), plan, context)));
    return async () => {
      const perView = await Promise.all(
        views.map(async (view, index) => {
          const job = { row, view, plan, images: images[index]!, params, options, context, signal };
          return (await sampleView(job)).map((generated) => responseOf(generated, view, options));
        }),
      );
      const responses = [...(row.record.responses ?? []), ...perView.flat()];
      return [{ ...row.record, responses, sampling: samplingOf(params, options, plan, context) }];
    };
  }, context);
}

async function sampleView(job: Job): Promise<GeneratedResponse[]> {
  const turns = openDialogue(job);
  const n = job.params.numSamples;
  if (turns.indexOf(null) === turns.length - 1)
    return generateTurn(turns.slice(0, -1) as Turn[], job, { n, branch: 0, turn: 0 });
  return Promise.all(Array.from({ length: n }, (_, branch) => converse(turns, job, branch)));
}

// Generates the open turns in order: each sees the generated turns before it.
async function converse(turns: (Turn | null)[], job: Job, branch: number): Promise<GeneratedResponse> {
  const written: Turn[] = [];
  const texts: string[] = [];
  let last: GeneratedResponse | undefined;
  for (const turn of turns) {
    if (turn === null) {
      [last] = await generateTurn(written, job, { n: 1, branch, turn: texts.length });
      texts.push(last!.text);
    }
    written.push(turn ?? { role: 'assistant', content: [{ type: 'text', text: texts.at(-1)! }] });
  }
  return { ...last!, turns: texts };
}

async function generateTurn(
  turns: Turn[],
  { row, view, plan, images, params, options, context, signal }: Job,
  { n, branch, turn }: { n: number; branch: number; turn: number },
): Promise<GeneratedResponse[]> {
  const { tokenizer, engine } = context;
  const { promptIds, numPositions } = preparePrompt(turns, images, plan, context);
  const { strings, bytes, ids } = stops(params.stop, context);
  // The template's end token ends a response, even if the model's config does not name it.
  const end = endId(plan, context);
  const { eosIds } = engine.info;
  const more = end === undefined || eosIds.includes(end) ? ids : [...ids, end];
  // A response that reaches the model's last position ends with finish_reason length.
  const maxNewTokens = Math.min(params.maxNewTokens, engine.info.maxPositions - numPositions);
  const request = {
    promptIds,
    images,
    ...samplingSettings(params),
    numSamples: n,
    maxNewTokens,
    stopStrings: bytes,
    eosTokenIds: Int32Array.from(more.length === 0 ? [] : [...eosIds, ...more]),
    seed: options.seed,
    rngKey: rngKey([row.record.id, view, turn].join('\n')),
    firstSample: branch,
  };
  const all = await engine.generate(request, signal);
  return all.map((generated): GeneratedResponse => {
    const whole = tokenizer.decode([...generated.ids]);
    const stop = generated.finishReason === 'stop' ? stopOf(generated, whole, { strings, end, context }) : undefined;
    return { text: cutAtStop(whole, strings), generated, ...(stop !== undefined && { stop }) };
  });
}

// Undefined if the template does not show a turn's end: an error only for training and scoring.
function endId({ template }: RecordPlan, { tokenizer }: ModelContext): number | undefined {
  try {
    const { end } = template.assistantTurn();
    return end === undefined ? undefined : tokenizer.tokenId(end);
  } catch (cause) {
    if (cause instanceof RunError) return tokenizer.eosId;
    throw cause;
  }
}

// The end of a response that did not end with its end token: another token, or the first text of --stop.
function stopOf(
  { ids }: Generated,
  whole: string,
  { strings, end, context }: { strings: string[]; end: number | undefined; context: ModelContext },
): string | undefined {
  const last = ids.at(-1);
  const [first] = strings.filter((mark) => whole.includes(mark)).sort((a, b) => whole.indexOf(a) - whole.indexOf(b));
  if (first !== undefined) return first;
  return last === undefined || last === end ? undefined : context.tokenizer.tokenText(last);
}

// A stop string that is a single token (such as </s>) is matched as an id; others as bytes of the text.
function stops(stop: string[], { tokenizer }: ModelContext): { strings: string[]; bytes: Uint8Array[]; ids: number[] } {
  const isToken = (text: string) => {
    const id = tokenizer.tokenId(text);
    return id !== undefined && tokenizer.isSpecial(id);
  };
  const strings = stop.filter((text) => !isToken(text));
  const encoder = new TextEncoder();
  return {
    strings,
    bytes: strings.map((text) => encoder.encode(text)),
    ids: stop.filter(isToken).map((text) => tokenizer.tokenId(text)!),
  };
}

function cutAtStop(text: string, stop: string[]): string {
  const ends = stop.map((mark) => text.indexOf(mark)).filter((at) => at !== -1);
  return ends.length === 0 ? text : text.slice(0, Math.min(...ends));
}

function responseOf(
  { text, turns, stop, generated }: GeneratedResponse,
  view: string,
  options: SampleOptions,
): Response {
  return {
    text,
    ...(turns && { turns }),
    view,
    ...(options.label !== undefined && { label: options.label }),
    ...(options.logps && { logps: generated.logps }),
    num_tokens: generated.ids.length,
    finish_reason: generated.finishReason,
    ...(stop !== undefined && { stop }),
    seed: options.seed,
  };
}

function samplingOf(params: SamplingParams, options: SampleOptions, plan: RecordPlan, context: ModelContext): Sampling {
  return {
    ...provenance(plan, context),
    ...recordedSettings(params),
    ...(params.stop.length > 0 && { stop: params.stop }),
    ...(options.steer !== undefined && { steer: options.steer }),
    seed: options.seed,
  };
}

// The record's turns; open turns and the final response are null.
function openDialogue({ row, images, options: { steer }, context }: Job): (Turn | null)[] {
  const { prompt } = row.record;
  const asked = steer === undefined ? prompt : withRequest(prompt, steerRequest(steer));
  const turns = openTurns(asked, images.length, context);
  const last = turns.at(-1);
  if (last === undefined) throw new RecordError(row, 'prompt', 'at least one turn', 'none');
  if (last?.role === 'assistant') {
    throw new RecordError(
      row,
      `prompt[${turns.length - 1}].role`,
      'user, or an assistant turn with content null',
      'assistant',
    );
  }
  if (last !== null) turns.push(null);
  return turns;
}

function viewNames(row: Row, views: string): string[] {
  return views === 'all' ? [ORIGINAL_VIEW, ...(row.record.views ?? []).map(({ name }) => name)] : [views];
}
