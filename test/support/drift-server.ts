// SPDX-License-Identifier: Apache-2.0
// An OpenAI-compatible chat server over our own engine, which may read what it is sent in a wrong way: what `eval drift` is to find out.
import type { PreparedPrompt, RecordPlan } from '../../src/model/context.ts';
import type { OpenModel } from '../../src/model/load.ts';
import { loadImages, preparePrompt, scoreResponses } from '../../src/model/prompt.ts';
import { planRecord } from '../../src/model/record-plan.ts';
import type { ContentPart, Message, VprefRecord } from '../../src/records/record.ts';
import { SAMPLING_DEFAULTS } from '../../src/records/sampling-settings.ts';
import { tokenTexts } from '../../src/stages/score.ts';
import { promptTurns } from '../../src/text/chat-template.ts';
import { type JudgeServer, type Seen, startJudgeServer } from './judge-server.ts';

/** What a server does otherwise. */
export interface Fault {
  /** To what it was sent; `call` counts from 0. */
  record?(record: VprefRecord, call: number): VprefRecord;
  plan?(plan: RecordPlan): RecordPlan;
  prompt?(prompt: PreparedPrompt): PreparedPrompt;
  /** To the log-probabilities and the tokens' texts that it gives. */
  reply?(logps: number[], tokens: string[]): { logps: number[]; tokens: string[] };
}

interface Sent {
  role: Message['role'];
  content: string | { type: string; text?: string; image_url?: { url: string } }[];
}

/** Starts it. Answers are greedy, of at most `max_tokens`. */
export function startDriftServer(model: OpenModel, fault: Fault = {}): Promise<JudgeServer> {
  let calls = 0;
  return startJudgeServer(async (call) => ({ json: await answer(model, fault, call, calls++) }), { keepCalls: false });
}

async function answer({ context }: OpenModel, fault: Fault, { body }: Seen, call: number): Promise<unknown> {
  const { signal } = new AbortController();
  const sent = recordOf(body.messages as Sent[]);
  const record = fault.record?.(sent, call) ?? sent;
  const row = { record, source: 'server', line: call + 1 };
  const own = await planRecord(row, context);
  const plan = fault.plan?.(own) ?? own;
  const images = await loadImages(row, { images: record.images ?? [] }, plan, context);
  const turns = promptTurns(record.prompt, images.length, { onOwnLine: true }).filter((one) => one !== null);
  const right = preparePrompt(turns, images, plan, context);
  const prompt = fault.prompt?.(right) ?? right;
  const keys = { seed: 0, rngKey: 0n, firstSample: 0 };
  const [made] = await context.engine.generate(
    {
      ...{ promptIds: prompt.promptIds, images: prompt.images, ...SAMPLING_DEFAULTS },
      ...{ maxNewTokens: Number(body.max_tokens), stopStrings: [], eosTokenIds: new Int32Array(), ...keys },
    },
    signal,
  );
  const isWhole = made!.finishReason === 'stop';
  const text = context.tokenizer.decode([...(isWhole ? made!.ids.slice(0, -1) : made!.ids)]).trimStart();
  const [scored] = await scoreResponses(prompt, [{ text, end: isWhole }], context, signal);
  const [logps, tokens] = [Array.from(scored!.perTokenLogps), tokenTexts(scored!.ids, context)];
  const given = fault.reply?.(logps, tokens) ?? { logps, tokens };
  const content = given.tokens.map((token, k) => ({ token, logprob: given.logps[k], bytes: [...Buffer.from(token)] }));
  const message = { role: 'assistant', content: text };
  return { model: 'served', choices: [{ message, finish_reason: made!.finishReason, logprobs: { content } }] };
}

function recordOf(messages: Sent[]): VprefRecord {
  const images: string[] = [];
  const prompt = messages.map(({ role, content }): Message => {
    if (typeof content === 'string') return { role, content };
    const parts = content.map((part): ContentPart => {
      if (part.image_url === undefined) return { type: 'text', text: part.text ?? '' };
      images.push(part.image_url.url);
      return { type: 'image' };
    });
    return { role, content: parts };
  });
  return { id: 'sent', prompt, images };
}

/** The record with other images and the text of its last turn. */
export function withOnly(record: VprefRecord, images: string[]): VprefRecord {
  const prompt = (record.prompt as Message[]).map((message): Message => {
    if (!Array.isArray(message.content)) return message;
    const text = message.content.filter(({ type }) => type === 'text');
    return { ...message, content: [...images.map(() => ({ type: 'image' }) as const), ...text] };
  });
  return { ...record, images, prompt };
}
