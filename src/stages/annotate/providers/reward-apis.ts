// SPDX-License-Identifier: Apache-2.0
// Requests and replies of reward-model servers: pure functions, one entry per API.
//   vllm-pooling, vllm-classify: docs.vllm.ai, "Reward models", "Pooling API", "Classification API": messages; the server renders them.
//   sglang: docs.sglang.io, "Native APIs", /classify: text that the client has rendered, and image_data.
import { type Attempt, failed, readUsage } from '../../../http/attempt.ts';
import { type ChatMessage, chatFailure, chatMessageJson, fieldsOf, notJson, parseJson } from '../../../http/chat.ts';
import type { HttpReply } from '../../../http/client.ts';
import type { ImagePart } from '../../../http/image-part.ts';
import { RunError } from '../../../records/error.ts';
import type { Turn } from '../../../text/chat-template.ts';

/** A dialogue that ends with the response to score. */
export interface RewardRequest {
  model: string;
  messages: ChatMessage[];
  /** Rendered by the served model's template, if the API takes text. */
  render?: ((turns: Turn[]) => string) | undefined;
}

export interface RewardApi {
  /** Path below the server's address. */
  path: string;
  /** Whether the client renders the text. */
  needsTemplate: boolean;
  body(request: RewardRequest): Record<string, unknown>;
  /** The scores of the dialogue, in the server's form. */
  scores(json: unknown): unknown;
  usage(json: unknown): { input: unknown; output: unknown };
}

const openaiUsage = (json: unknown) => {
  const { prompt_tokens: input } = fieldsOf(fieldsOf(json).usage);
  return { input, output: 0 };
};

/** The item of a list reply; undefined unless there is exactly one. */
const onlyItem = (list: unknown) => fieldsOf(Array.isArray(list) && list.length === 1 ? list[0] : undefined);

export const rewardApis = {
  'vllm-pooling': {
    path: '/pooling',
    needsTemplate: false,
    // Without activation the pooler returns the raw reward instead of its sigmoid.
    body: ({ model, messages }) => ({
      model,
      messages: messages.map(chatMessageJson),
      task: 'classify',
      use_activation: false,
    }),
    scores: (json) => onlyItem(fieldsOf(json).data).data,
    usage: openaiUsage,
  },
  'vllm-classify': {
    path: '/classify',
    needsTemplate: false,
    body: ({ model, messages }) => ({ model, messages: messages.map(chatMessageJson), use_activation: false }),
    scores: (json) => onlyItem(fieldsOf(json).data).probs,
    usage: openaiUsage,
  },
  sglang: {
    path: '/classify',
    needsTemplate: true,
    body: ({ model, messages, render }) => {
      const images = messages.flatMap(({ content }) => (typeof content === 'string' ? [] : content)).flatMap(imageUri);
      return { model, text: render!(messages.map(toTurn)), ...(images.length > 0 && { image_data: images }) };
    },
    scores: (json) => {
      const item = Array.isArray(json) ? onlyItem(json) : fieldsOf(json);
      return item.embedding ?? item.score;
    },
    usage: (json) => {
      const item = Array.isArray(json) ? onlyItem(json) : fieldsOf(json);
      return { input: fieldsOf(item.meta_info).prompt_tokens, output: 0 };
    },
  },
} satisfies Record<string, RewardApi>;

export type RewardApiName = keyof typeof rewardApis;

export const rewardApiNames = Object.keys(rewardApis) as RewardApiName[];

function imageUri(part: { type: string; image?: ImagePart }): string[] {
  return part.image === undefined ? [] : [`data:${part.image.mediaType};base64,${part.image.base64}`];
}

function toTurn({ role, content }: ChatMessage): Turn {
  const parts = typeof content === 'string' ? [{ type: 'text' as const, text: content }] : content;
  return { role, content: parts.map((part) => (part.type === 'text' ? part : { type: 'image' })) };
}

/** Reads a reply: the number as text. Anything except one finite number is a failed call. */
export function readReward(api: RewardApi, reply: HttpReply): Attempt {
  const json = parseJson(reply.body);
  if (reply.status !== 200) return rewardFailure(reply, json);
  if (typeof json !== 'object' || json === null) return notJson(reply.body);
  const usage = readUsage(api.usage(json));
  const about = usage === undefined ? {} : { usage };
  const scores = [api.scores(json)].flat(2);
  const [score] = scores;
  if (scores.length === 1 && typeof score === 'number' && Number.isFinite(score))
    return { outcome: 'ok', text: JSON.stringify(score), ...about };
  const got = JSON.stringify(scores.length === 1 ? score : scores) ?? 'nothing';
  const hint =
    scores.length > 1 ? ` (${scores.length} numbers: a model of several classes, or one that scores each token)` : '';
  return failed('invalid', `expected one finite number, got ${got.slice(0, 80)}${hint}`, about);
}

// A generation server has no such path, or refuses: every other row would fail too, so the run stops.
function rewardFailure(reply: HttpReply, json: unknown): Attempt {
  const failure = chatFailure(reply, json);
  const isOtherServer = [404, 405, 501].includes(reply.status) || /does not support/i.test(failure.message ?? '');
  if (!isOtherServer) return failure;
  const { message } = failure;
  return failed('invalid', `${message} (expected a server of a reward model; a chat model judges as openai:MODEL)`, {
    fatal: true,
  });
}

/** Throws RunError{"image"}, which fails only the row, if the served model's template takes no image. */
export function checkRendered(text: string, numImages: number, isVision: boolean): void {
  if (numImages > 0 && !isVision)
    throw new RunError(
      'image',
      `images: expected none for the served model (its config is of no family known to take them), got ${numImages}`,
    );
  if (text === '') throw new RunError('template', 'the chat template of the served model renders nothing');
}
