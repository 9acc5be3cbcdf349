// SPDX-License-Identifier: Apache-2.0
// local:DIR: a judge on the engine. Each question is one record for `sample`, so judging samples exactly as `sample` does.
import { type Attempt, failed } from '../../../http/attempt.ts';
import { modelInfo } from '../../../http/model-info.ts';
import { imageFields } from '../../../model/record-plan.ts';
import type { Message, VprefRecord } from '../../../records/record.ts';
import { SAMPLING_DEFAULTS } from '../../../records/sampling-settings.ts';
import type { SampleOptions } from '../../sample.ts';
import { type Judge, type JudgeParameters, type JudgeRequest, turnParts } from '../judge.ts';
import type { LoadedModel, OwnProvider } from './provider.ts';

export const local: OwnProvider = {
  operand: 'DIR',
  computesHere: true,
  open: async (directory, { openModel }) => localJudge(`local:${directory}`, await openModel(directory)),
};

/** The model as a judge. `name` is the user's text. */
export async function localJudge(name: string, model: LoadedModel): Promise<Judge> {
  return {
    name,
    identity: await identityOf(model),
    imageLimits: { mediaTypes: [], maxBytes: Number.POSITIVE_INFINITY },
    imageTokens: () => 0,
    reasoningTokens: 0,
    info: modelInfo(''),
    readsProbabilities: true,
    ask: (request, signal) => askModel(model, request, signal),
    close: async () => {},
  };
}

// A reply also depends on the weights, their dtype, the rendered template, and the image mode.
async function identityOf({ context }: LoadedModel): Promise<Judge['identity']> {
  const { fingerprint, engine, template, templateArgs, vision } = context;
  const { render } = await context.loadTemplate(template.asked ?? template.otherwise, templateArgs);
  const rendered = render([{ role: 'user', content: [{ type: 'text', text: '?' }] }]);
  const images = vision && imageFields(vision.plan);
  const { dtype, quantize } = engine.info;
  const held = quantize === 'none' ? {} : { quantize };
  return { provider: 'local', ...fingerprint, dtype, ...held, rendered, ...images };
}

async function askModel({ context }: LoadedModel, request: JudgeRequest, signal: AbortSignal): Promise<Attempt> {
  const record: VprefRecord = { id: 'judge', prompt: messagesOf(request), images: request.images };
  // The judge's input is not training data, so special tokens in it are not reported.
  const { onSpecialText: _, ...quiet } = context;
  if (request.replies !== undefined) {
    const { askProbabilities } = await import('./reply-probabilities.ts');
    return askProbabilities(quiet, record, request.replies, signal);
  }
  const { sample } = await import('../../sample.ts');
  const stage = sample(sampleOptions(request.parameters), { ...quiet, stop: signal });
  for await (const { records, error } of stage(oneRow(record))) {
    // A prompt that is too long or an unreadable image fails this row only.
    if (error) return failed('invalid', error.message);
    const { text, finish_reason: finishReason = 'stop', num_tokens = 0 } = records[0]!.responses![0]!;
    const about = { finishReason, usage: { input_tokens: 0, output_tokens: num_tokens } };
    if (finishReason === 'length') return { ...failed('truncated', 'the token limit was reached', about), text };
    if (text.trim() === '') return failed('empty', 'the model gave no text', about);
    return { outcome: 'ok', text, ...about };
  }
  throw signal.reason;
}

function messagesOf(request: JudgeRequest): Message[] {
  const messages: Message[] = request.system === undefined ? [] : [{ role: 'system', content: request.system }];
  for (const [index, turn] of request.turns.entries()) {
    const parts = turnParts(request, index, request.images);
    messages.push({ role: turn.role, content: parts.map((part) => (part.type === 'text' ? part : { type: 'image' })) });
  }
  return messages;
}

function sampleOptions(parameters: JudgeParameters): SampleOptions {
  return {
    ...SAMPLING_DEFAULTS,
    temperature: parameters.temperature ?? SAMPLING_DEFAULTS.temperature,
    topP: parameters.topP ?? SAMPLING_DEFAULTS.topP,
    maxNewTokens: parameters.maxTokens,
    stop: parameters.stop ?? [],
    views: 'original',
    logps: false,
    seed: parameters.seed ?? 0,
  };
}

async function* oneRow(record: VprefRecord) {
  yield { record, source: 'judge', line: 1 };
}
