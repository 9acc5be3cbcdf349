// SPDX-License-Identifier: Apache-2.0
// local:DIR: a judge on our own engine.
import { type Attempt, failed } from '../../../http/attempt.ts';
import { modelFacts } from '../../../http/model-facts.ts';
import type { Message } from '../../../records/record.ts';
import { type Judge, type JudgeParameters, type JudgeRequest, turnParts } from '../judge.ts';

export interface LocalReply {
  text: string;
  finish_reason: string;
  num_tokens: number;
}

/** What a judge needs of an engine. */
export interface LocalJudge {
  /** Fingerprint of the model, for the cache. */
  fingerprint: string;
  /** Answers one prompt, or says what is wrong with it. `images` fill the messages' image slots in order. */
  generate(
    messages: Message[],
    images: string[],
    parameters: JudgeParameters,
    signal: AbortSignal,
  ): Promise<LocalReply | { error: { code: string; message: string } }>;
  close(): Promise<void>;
}

/** The engine as a judge. `name` is what the user wrote. */
export function localJudge(name: string, engine: LocalJudge): Judge {
  return {
    name,
    identity: { provider: 'local', model: engine.fingerprint },
    imageLimits: { mediaTypes: [], maxBytes: Number.POSITIVE_INFINITY },
    imageTokens: () => 0,
    reasoningTokens: 0,
    facts: modelFacts(''),
    ask: (request, signal) => askEngine(engine, request, signal),
    close: () => engine.close(),
  };
}

async function askEngine(engine: LocalJudge, request: JudgeRequest, signal: AbortSignal): Promise<Attempt> {
  const reply = await engine.generate(engineMessages(request), request.images, request.parameters, signal);
  // A prompt that is too long, an image that cannot be read: the row's own.
  if ('error' in reply) return failed('invalid', reply.error.message);
  const about = { finishReason: reply.finish_reason, usage: { input_tokens: 0, output_tokens: reply.num_tokens } };
  if (reply.finish_reason === 'length') {
    return { ...failed('truncated', 'the token limit was reached', about), text: reply.text };
  }
  if (reply.text.trim() === '') return failed('empty', 'the model gave no text', about);
  return { outcome: 'ok', text: reply.text, ...about };
}

function engineMessages(request: JudgeRequest): Message[] {
  const messages: Message[] = request.system === undefined ? [] : [{ role: 'system', content: request.system }];
  for (const [index, turn] of request.turns.entries()) {
    const parts = turnParts(request, index, request.images);
    messages.push({ role: turn.role, content: parts.map((part) => (part.type === 'text' ? part : { type: 'image' })) });
  }
  return messages;
}
