// SPDX-License-Identifier: Apache-2.0
// score --drift: scores the tokens of a server's responses under our reading of the record, and under readings that a server may use by mistake.
// `eval drift` then finds the reading that matches the server's log-probabilities.
import type { ImageMode } from '../../families/family.ts';
import type { ImageInput } from '../engine/requests.ts';
import { mapRowsInFlight } from '../flow/in-flight.ts';
import type { Row, Stage } from '../flow/stage.ts';
import type { ModelContext, PreparedPrompt, RecordPlan } from '../model/context.ts';
import { loadImages, preparePrompt, scoreResponses, writtenTurns } from '../model/prompt.ts';
import { planRecord } from '../model/record-plan.ts';
import { FieldError, RecordError, RunError } from '../records/error.ts';
import type { ContentPart, Response } from '../records/record.ts';
import { ORIGINAL_VIEW, viewInputs } from '../records/view.ts';
import { BUILT_IN_TEMPLATES } from '../text/built-in-templates.ts';
import type { ChatTemplate, Turn } from '../text/chat-template.ts';
import { earlierTurns, responseText, rounded, withLogps } from './score.ts';

/** Variants of the model by name: dtype:bf16, no-adapter. */
export type OtherForms = ReadonlyMap<string, ModelContext>;

/**
 * `logps`, `per_token_logps`, `tokens` and `drift` of every response that carries `endpoint_per_token_logps`; the others stay as they are. A
 * record with none is an error of the record.
 */
export function scoreDrift(context: ModelContext, forms: OtherForms): Stage {
  return mapRowsInFlight(async (row, signal) => {
    const { responses = [] } = row.record;
    if (!responses.some(isServers))
      throw new RecordError(
        row,
        'responses[].endpoint_per_token_logps',
        "a server's log-probabilities (sample --endpoint --logps)",
        responses.length === 0 ? 'no responses' : 'none',
      );
    const plan = await planRecord(row, context);
    const images = await imagesOfReadings(row, responses.filter(isServers), plan, context);
    return async () => {
      const scored: Response[] = [];
      for (const response of responses)
        scored.push(
          isServers(response) ? await scoreReadings(row, response, { plan, images, context, forms, signal }) : response,
        );
      return [{ ...row.record, responses: scored }];
    };
  }, context);
}

function isServers({ endpoint_per_token_logps: logps }: Response): boolean {
  return logps !== undefined;
}

/** Images of each view in each image mode of the family; undefined if another mode cannot take the image. */
type Images = ReadonlyMap<string, ImageInput[]>;

async function imagesOfReadings(
  row: Row,
  responses: Response[],
  plan: RecordPlan,
  context: ModelContext,
): Promise<Images> {
  const views = [...new Set(responses.map(({ view }) => view ?? ORIGINAL_VIEW))];
  const plans = [plan, ...otherModes(plan, context).map(([, other]) => other)];
  const loaded = views.flatMap((view) =>
    plans.map(async (one) => {
      return [imagesKey(view, one), await loadImages(row, viewInputs(row.record, view), one, context)] as const;
    }),
  );
  return new Map(await Promise.all(loaded));
}

function imagesKey(view: string, { images }: RecordPlan): string {
  return `${images?.mode ?? ''} ${view}`;
}

function otherModes(plan: RecordPlan, { vision }: ModelContext): [ImageMode, RecordPlan][] {
  if (vision === undefined || plan.images === undefined) return [];
  const { family } = vision;
  const others = family.imageModes.filter((mode) => mode !== plan.images!.mode);
  return others.map((mode) => [mode, { ...plan, images: family.choosePlan(plan.images!, { mode }) }]);
}

interface Setting {
  plan: RecordPlan;
  images: Images;
  context: ModelContext;
  forms: OtherForms;
  signal: AbortSignal;
}

async function scoreReadings(row: Row, response: Response, setting: Setting): Promise<Response> {
  const { plan, context, forms, signal } = setting;
  const images = setting.images.get(imagesKey(response.view ?? ORIGINAL_VIEW, plan))!;
  const turns = writtenTurns(row, images.length, context, earlierTurns(response));
  const own = preparePrompt(turns, images, plan, context);
  const text = responseText(response, context);
  const [ours] = await scoreResponses(own, [text], context, signal);
  const drift: Record<string, number[]> = {};
  // Two readings may give the same prompt.
  const seen = new Set([promptKey(own)]);
  for (const [name, read] of await readings(row, response, turns, own, setting)) {
    const prepared = attempt(read);
    if (prepared === undefined || seen.has(promptKey(prepared))) continue;
    seen.add(promptKey(prepared));
    const scored = await attemptScore(() => scoreResponses(prepared, [text], context, signal));
    if (scored !== undefined && sameTokens(scored[0]!.ids, ours!.ids)) drift[name] = rounded(scored[0]!.perTokenLogps);
  }
  for (const [name, form] of forms) {
    const [scored] = await scoreResponses(own, [text], form, signal);
    drift[name] = rounded(scored!.perTokenLogps);
  }
  return { ...withLogps(response, ours!, context), drift };
}

type Reading = [name: string, read: () => PreparedPrompt];

/** Known server mistakes in prompts. */
async function readings(
  row: Row,
  response: Response,
  turns: Turn[],
  own: PreparedPrompt,
  { plan, images: all, context }: Setting,
): Promise<Reading[]> {
  const { images } = own;
  const prepare = (readTurns: Turn[], readImages: ImageInput[] = images, readPlan: RecordPlan = plan) =>
    preparePrompt(readTurns, readImages, readPlan, context);
  const withTemplate = (template: ChatTemplate) => prepare(turns, images, { ...plan, template });
  const found: Reading[] = [];
  if (images.length > 0) {
    found.push(
      [
        'no-image',
        () =>
          prepare(
            turns.map((turn) => withImages(turn, () => [])),
            [],
          ),
      ],
      [
        'doubled-image',
        () =>
          prepare(
            turns.map((turn) => withImages(turn, (part) => [part, part])),
            doubled(images),
          ),
      ],
      ['image-last', () => prepare(turns.map(imagesLast))],
      ['image-line-break', () => prepare(otherwiseBroken(row, response, context, images.length))],
    );
    for (const [mode, other] of otherModes(plan, context))
      found.push([
        `image-mode:${mode}`,
        () => prepare(turns, all.get(imagesKey(response.view ?? ORIGINAL_VIEW, other))!, other),
      ]);
  }
  if (images.length > 1) {
    found.push(['first-image-only', () => prepare(onlyImage(turns, 0), images.slice(0, 1))]);
    found.push(['last-image-only', () => prepare(onlyImage(turns, images.length - 1), images.slice(-1))]);
  }
  const bos = context.tokenizer.bosIds;
  if (bos.length > 0) {
    found.push(['doubled-bos', () => withIds(own, [...bos, ...own.promptIds], bos.length)]);
    found.push(['no-bos', () => withIds(own, [...own.promptIds.subarray(bos.length)], -bos.length)]);
  }
  if (turns.some(({ role }) => role === 'system'))
    found.push(['no-system', () => prepare(turns.filter(({ role }) => role !== 'system'))]);
  const { renderWhole } = plan.template;
  if (renderWhole !== undefined)
    found.push(['no-generation-prompt', () => withTemplate({ ...plan.template, render: renderWhole })]);
  for (const name of ['auto', ...BUILT_IN_TEMPLATES].filter((one) => one !== plan.template.name)) {
    const template = await context.loadTemplate(name).catch(unlessOurs);
    if (template !== undefined) found.push([`template:${name}`, () => withTemplate(template)]);
  }
  return found;
}

function withImages(turn: Turn, change: (image: ContentPart) => ContentPart[]): Turn {
  return { ...turn, content: turn.content.flatMap((part) => (part.type === 'image' ? change(part) : [part])) };
}

// Adds the line breaks beside images that the family's templates write, or removes those that they do not write.
function otherwiseBroken(row: Row, response: Response, context: ModelContext, numImages: number): Turn[] {
  const vision = context.vision!;
  const family = { ...vision.family, imagesOnOwnLine: !vision.family.imagesOnOwnLine };
  return writtenTurns(row, numImages, { ...context, vision: { ...vision, family } }, earlierTurns(response));
}

function imagesLast(turn: Turn): Turn {
  const isImage = ({ type }: Turn['content'][number]) => type === 'image';
  return { ...turn, content: [...turn.content.filter((part) => !isImage(part)), ...turn.content.filter(isImage)] };
}

function onlyImage(turns: Turn[], wanted: number): Turn[] {
  let index = 0;
  return turns.map((turn) => withImages(turn, (part) => (index++ === wanted ? [part] : [])));
}

function doubled(images: ImageInput[]): ImageInput[] {
  return images.flatMap((image) => [image, image]);
}

function withIds(own: PreparedPrompt, ids: readonly number[], added: number): PreparedPrompt {
  return { ...own, promptIds: Int32Array.from(ids), numPositions: own.numPositions + added };
}

// Compare pixels too, because two image modes may have equal token counts.
function promptKey({ promptIds, images }: PreparedPrompt): string {
  const crops = images.flatMap(({ crops }) => crops.map(({ height, width, pixels }) => [height, width, sumOf(pixels)]));
  return `${promptIds.join()} ${crops.join(';')}`;
}

function sumOf(pixels: Uint8Array): number {
  let sum = 0;
  for (let k = 0; k < pixels.length; k += 1) sum = (sum * 31 + pixels[k]!) | 0;
  return sum;
}

function sameTokens(a: Int32Array, b: Int32Array): boolean {
  return a.length === b.length && a.every((id, index) => id === b[index]);
}

/** The result of a reading, or undefined if the model, its template or its positions do not allow it. */
function attempt<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch (cause) {
    return unlessOurs(cause);
  }
}

async function attemptScore<T>(score: () => Promise<T>): Promise<T | undefined> {
  try {
    return await score();
  } catch (cause) {
    return unlessOurs(cause);
  }
}

// An impossible reading is skipped. Engine failures stop the run.
function unlessOurs(cause: unknown): undefined {
  const isReadings =
    cause instanceof FieldError || (cause instanceof RunError && ['too-long', 'template'].includes(cause.code));
  if (!isReadings) throw cause;
}
