// SPDX-License-Identifier: Apache-2.0
// Answers to each record's prompt: to its own images and to the views of them.
import type { Generated, ImageInput } from '../engine/requests.ts';
import { mapRowsInFlight } from '../flow/in-flight.ts';
import type { Row, Stage } from '../flow/stage.ts';
import type { ModelContext, RecordPlan } from '../model/context.ts';
import { loadImages, openTurns, preparePrompt } from '../model/prompt.ts';
import { planRecord, provenance } from '../model/record-plan.ts';
import { RecordError, RunError } from '../records/error.ts';
import { rngKey } from '../records/random.ts';
import type { Response, Sampling } from '../records/record.ts';
import { steerRequest, withRequest } from '../records/steerlm.ts';
import { ORIGINAL_VIEW, viewInputs } from '../records/view.ts';
import type { Turn } from '../text/chat-template.ts';
import { type DrawOptions, recordDraw, samplingSettings } from './sample/draw.ts';

/** How to draw answers. A record's `sampling_params` override the drawing, not the views, the label or the seed. */
export interface SampleOptions extends DrawOptions {
  /** "original", "all" (the record's images and every view), or the name of a view. */
  views: string;
  label?: string;
  /** Whether responses carry their log-probability. */
  logps: boolean;
  /** SteerLM: attributes of the answer that the last user turn asks for. */
  steer?: Record<string, number>;
  seed: number;
}

// One view of one record, on its way to answers.
interface Job {
  row: Row;
  view: string;
  plan: RecordPlan;
  images: ImageInput[];
  draw: DrawOptions;
  options: SampleOptions;
  context: ModelContext;
  signal: AbortSignal;
}

interface GeneratedAnswer {
  text: string;
  generated: Generated;
  /** What ended it, where that was not its end token. */
  stop?: string;
  /** Texts of all generated turns when there are several. */
  turns?: string[];
}

/** Adds `responses` and `sampling`. The n answers of a view share the computation of its prompt. */
export function sample(options: SampleOptions, context: ModelContext): Stage {
  return mapRowsInFlight(async (row, signal) => {
    const draw = recordDraw(row, options);
    const plan = await planRecord(row, context);
    const views = viewNames(row, options.views);
    const images = await Promise.all(views.map((view) => loadImages(row, viewInputs(row.record, view), plan, context)));
    return async () => {
      const perView = await Promise.all(
        views.map(async (view, index) => {
          const job = { row, view, plan, images: images[index]!, draw, options, context, signal };
          return (await answerView(job)).map((answer) => responseOf(answer, view, options));
        }),
      );
      const responses = [...(row.record.responses ?? []), ...perView.flat()];
      return [{ ...row.record, responses, sampling: samplingOf(draw, options, plan, context) }];
    };
  }, context);
}

async function answerView(job: Job): Promise<GeneratedAnswer[]> {
  const turns = openDialogue(job);
  const n = job.draw.numSamples;
  if (turns.indexOf(null) === turns.length - 1)
    return generateTurn(turns.slice(0, -1) as Turn[], job, { n, branch: 0, turn: 0 });
  return Promise.all(Array.from({ length: n }, (_, branch) => converse(turns, job, branch)));
}

// Generates the open turns one after the other: each sees what was generated before.
async function converse(turns: (Turn | null)[], job: Job, branch: number): Promise<GeneratedAnswer> {
  const written: Turn[] = [];
  const texts: string[] = [];
  let last: GeneratedAnswer | undefined;
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
  { row, view, plan, images, draw, options, context, signal }: Job,
  { n, branch, turn }: { n: number; branch: number; turn: number },
): Promise<GeneratedAnswer[]> {
  const { tokenizer, engine } = context;
  const { promptIds, numPositions } = preparePrompt(turns, images, plan, context);
  const { strings, bytes, ids } = stops(draw.stop, context);
  // The template's end token ends an answer, also where the model's configuration does not name it.
  const end = endId(plan, context);
  const { eosIds } = engine.info;
  const more = end === undefined || eosIds.includes(end) ? ids : [...ids, end];
  // The answer ends where the positions end; its finish_reason says so.
  const maxNewTokens = Math.min(draw.maxNewTokens, engine.info.maxPositions - numPositions);
  const request = {
    promptIds,
    images,
    ...samplingSettings(draw),
    numSamples: n,
    maxNewTokens,
    stopStrings: bytes,
    eosTokenIds: Int32Array.from(more.length === 0 ? [] : [...eosIds, ...more]),
    seed: options.seed,
    rngKey: rngKey([row.record.id, view, turn].join('\n')),
    firstSample: branch,
  };
  const all = await engine.generate(request, signal);
  return all.map((generated): GeneratedAnswer => {
    const whole = tokenizer.decode([...generated.ids]);
    const stop = generated.finishReason === 'stop' ? stopOf(generated, whole, { strings, end, context }) : undefined;
    return { text: cutAtStop(whole, strings), generated, ...(stop !== undefined && { stop }) };
  });
}

// Undefined where the template does not show how a turn ends: that is an error only for those who learn from it or score it.
function endId({ template }: RecordPlan, { tokenizer }: ModelContext): number | undefined {
  try {
    const { end } = template.assistantTurn();
    return end === undefined ? undefined : tokenizer.tokenId(end);
  } catch (cause) {
    if (cause instanceof RunError) return tokenizer.eosId;
    throw cause;
  }
}

// What ended an answer, where it was not its end token: another token, or the first text of --stop in it.
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

// A stop string that is a token of its own (such as </s>) is looked for as an id; others as bytes of the text.
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

function responseOf({ text, turns, stop, generated }: GeneratedAnswer, view: string, options: SampleOptions): Response {
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

function samplingOf(draw: DrawOptions, options: SampleOptions, plan: RecordPlan, context: ModelContext): Sampling {
  return {
    ...provenance(plan, context),
    temperature: draw.temperature,
    top_p: draw.topP,
    top_k: draw.topK,
    max_new_tokens: draw.maxNewTokens,
    ...(draw.numBeams > 1 && { beams: draw.numBeams }),
    ...(draw.stop.length > 0 && { stop: draw.stop }),
    ...(options.steer !== undefined && { steer: options.steer }),
    seed: options.seed,
  };
}

// The record's turns, open ones as null, the answer as the last: null.
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
