// SPDX-License-Identifier: Apache-2.0
// A planned call in the judge's form, with its cache key.
import { createHash } from 'node:crypto';
import type { Template } from '@huggingface/jinja';
import { type ImageLimits, limitsOf, pictureChange, readImageBytes } from '../../http/image-part.ts';
import type { SpokenTurn } from '../../records/dialogue.ts';
import { RunError } from '../../records/error.ts';
import { imageHeader } from '../../records/image-header.ts';
import { randomStream } from '../../records/random.ts';
import type { VprefRecord } from '../../records/record.ts';
import type { Guide } from './guide.ts';
import type { Judge, JudgeParameters, JudgeRequest } from './judge.ts';
import type { PlannedCall } from './plan.ts';
import { replyReaders, splitReader } from './replies/index.ts';
import type { ReplyReader } from './replies/reading.ts';

/** A guide with compiled templates. */
export interface ReadyGuide {
  guide: Guide;
  system: Template | undefined;
  user: Template;
  split: Template | undefined;
}

/** Compiles the templates. Throws RunError with the guide's name if one does not parse. */
export async function readyGuide(guide: Guide): Promise<ReadyGuide> {
  const { Template } = await import('@huggingface/jinja');
  try {
    const system = guide.system === undefined ? undefined : new Template(guide.system);
    const split = guide.split === undefined ? undefined : new Template(guide.split);
    return { guide, system, user: new Template(guide.user), split };
  } catch (cause) {
    throw new RunError('guide', `guide ${guide.name}: ${(cause as Error).message}`, { cause });
  }
}

/** The user's sampling flags, which override the guide's. */
export interface QuestionOverrides {
  temperature?: number | undefined;
  topP?: number | undefined;
  maxTokens?: number | undefined;
  /** Describe the JSON shape in the prompt only, for servers without JSON schema. */
  withoutSchema?: boolean | undefined;
}

export interface Question {
  request: JudgeRequest;
  /** Hash of prompt bytes, image hashes and shape, hex. */
  promptSha256: string;
  /** Estimate of the provider's token count. */
  inputTokens: number;
}

/** Renders the call. Reads the images for hashes and sizes only, and keeps no bytes. */
export async function askQuestion(
  ready: ReadyGuide,
  judge: Judge,
  item: { record: VprefRecord; call: PlannedCall; run: number; seed: number; overrides: QuestionOverrides },
): Promise<Question> {
  const { guide } = ready;
  const { record, call, run, overrides } = item;
  // Claims are split from the response's text, so no image is sent.
  const images = guide.images && !call.isSplit ? (record.images ?? []) : [];
  const system = guide.reply === 'reward' ? String(call.variables.system) : ready.system?.render(call.variables).trim();
  const user = (call.isSplit ? ready.split! : ready.user).render(call.variables).trim();
  const reader = replyReader(guide, call);
  const replies = call.isSplit || guide.replies.length === 0 ? undefined : guide.replies;
  const schema = overrides.withoutSchema ? undefined : reader.schema?.(call.context);
  const limits = limitsOf(images.length, judge.imageLimits);
  const info = await Promise.all(images.map((image, index) => imageInfo(image, limits, `images[${index}]`)));
  const request: Omit<JudgeRequest, 'key'> = {
    ...(system ? { system } : {}),
    turns: guide.reply === 'reward' ? dialogueTurns(call) : [{ role: 'user', text: user }],
    images,
    ...(call.numberImages && images.length > 0 ? { numberImages: true } : {}),
    ...(schema ? { schema } : {}),
    ...(replies ? { replies } : {}),
    parameters: replies || guide.reply === 'reward' ? NOTHING_DRAWN : judgeParameters(guide, judge, item),
    about: {
      record,
      guide: guide.name,
      run,
      answers: call.answers,
      ...(call.turn === undefined ? {} : { turn: call.turn }),
    },
  };
  const shown = {
    system: system || null,
    turns: request.turns,
    images: info.map(({ sha256 }) => sha256),
    schema: schema ?? null,
    ...(replies ? { replies } : {}),
  };
  const promptSha256 = sha256(JSON.stringify(shown));
  const seen = judge.seesRecord ? sha256(JSON.stringify(request.about)) : null;
  const key = sha256(JSON.stringify([1, judge.identity, request.parameters, run, promptSha256, seen]));
  const imageTokens = info.reduce((sum, { width, height }) => sum + judge.imageTokens(width, height), 0);
  return {
    request: { key, ...request },
    promptSha256,
    inputTokens: textTokens(`${system ?? ''}${user}`) + imageTokens,
  };
}

/** The dialogue with the response at its end. */
function dialogueTurns({ variables, answers }: PlannedCall): JudgeRequest['turns'] {
  const turns = (variables.conversation as SpokenTurn[]).flatMap(({ role, content }) =>
    role === 'system' ? [] : [{ role, text: content }],
  );
  return [...turns, { role: 'assistant', text: answers[0]!.text }];
}

/** The parser for replies to this guide. */
export function replyReader(guide: Guide, call: PlannedCall): ReplyReader {
  return call.isSplit ? splitReader : replyReaders[guide.reply];
}

/** Settings of a question whose reply is read from probabilities, without generation. */
const NOTHING_DRAWN: JudgeParameters = { maxTokens: 1 };

/** English text has about 4.2 bytes per token; a lower value overestimates the cost. */
const BYTES_PER_TOKEN = 3.5;

/** Estimate of a text's tokens. */
export function textTokens(text: string): number {
  return Math.ceil(Buffer.byteLength(text) / BYTES_PER_TOKEN);
}

function judgeParameters(
  guide: Guide,
  judge: Judge,
  item: { record: VprefRecord; run: number; seed: number; overrides: QuestionOverrides },
): JudgeParameters {
  const { overrides } = item;
  const { info } = judge;
  // Guide settings that the model refuses are omitted; the user's flags are always sent.
  const temperature = overrides.temperature ?? (info.temperature ? guide.temperature : undefined);
  const topP = overrides.topP ?? (info.topP ? guide.topP : undefined);
  const isOne = !info.temperatureWithTopP && temperature !== undefined && topP !== undefined;
  const isTopPOwn = overrides.topP !== undefined && overrides.temperature === undefined;
  const sampling = {
    ...(temperature === undefined || (isOne && isTopPOwn) ? {} : { temperature }),
    ...(topP === undefined || (isOne && !isTopPOwn) ? {} : { topP }),
  };
  const random = randomStream(item.seed, item.record.id, 'annotate-judge', String(item.run));
  return {
    maxTokens: overrides.maxTokens ?? guide.maxTokens,
    ...sampling,
    ...(guide.stop === undefined ? {} : { stop: guide.stop }),
    // With sampling on, repeated runs must get different seeds.
    ...(sampling.temperature === 0 || !info.seed ? {} : { seed: random.nextInt(2 ** 31) }),
  };
}

interface ImageInfo {
  /** Hash of the file's bytes and of the operations before it is sent. */
  sha256: string;
  width: number;
  height: number;
}

async function imageInfo(image: string, limits: ImageLimits, field: string): Promise<ImageInfo> {
  const bytes = await readImageBytes(image, field);
  const { width = 0, height = 0 } = imageHeader(bytes) ?? {};
  const change = limits.mediaTypes.length > 0 ? await pictureChange(bytes, limits) : undefined;
  return { sha256: sha256(bytes) + (change === undefined ? '' : ` ${change}`), width, height };
}

function sha256(bytes: string | Buffer): string {
  return createHash('sha256').update(bytes).digest('hex');
}
