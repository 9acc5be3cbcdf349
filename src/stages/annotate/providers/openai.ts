// SPDX-License-Identifier: Apache-2.0
// OpenAI and every server that speaks its chat completions (vLLM, llama.cpp, routers).
import { CHAT_IMAGES, type ChatMessage, chatBody, OPENAI_BASE_URL, readChatReply } from '../../../http/chat.ts';
import type { ImagePart } from '../../../http/image-part.ts';
import { modelFacts } from '../../../http/model-facts.ts';
import { type JudgeRequest, turnParts } from '../judge.ts';
import { toJsonSchema } from '../schema.ts';
import { type JudgeApi, type JudgeApiOptions, trimSlash } from './http-judge.ts';

/** The chat-completions API as a judge. */
export function openaiApi(options: JudgeApiOptions): JudgeApi {
  const baseUrl = trimSlash(options.baseUrl ?? OPENAI_BASE_URL);
  const { model } = options;
  const facts = modelFacts(model);
  const reasoningTokens = options.reasoningTokens ?? facts.reasoningTokens;
  // A local server may know only the old name, OpenAI's newest models only the new one.
  const ownField = options.baseUrl === undefined ? 'max_completion_tokens' : 'max_tokens';
  return {
    provider: 'openai',
    model,
    baseUrl,
    url: `${baseUrl}/chat/completions`,
    headers: options.key === undefined ? {} : { authorization: `Bearer ${options.key}` },
    imageLimits: CHAT_IMAGES,
    imageTokens: openaiImageTokens,
    reasoningTokens,
    facts,
    body: (request, images) =>
      chatBody(chatMessages(request, images), {
        model,
        maxTokens: request.parameters.maxTokens + reasoningTokens,
        maxTokensField: facts.maxTokensField ?? ownField,
        temperature: request.parameters.temperature,
        topP: request.parameters.topP,
        stop: facts.stop ? request.parameters.stop : undefined,
        seed: request.parameters.seed,
        schema: request.schema && { name: 'judgement', schema: toJsonSchema(request.schema) },
      }),
    read: (reply) => {
      const { choices: _, ...attempt } = readChatReply(reply);
      return attempt;
    },
  };
}

/** High detail: 85, plus 170 for each tile of 512 after fitting into 2048 and scaling the short side to 768. */
function openaiImageTokens(width: number, height: number): number {
  const fit = Math.min(1, 2048 / Math.max(width, height, 1));
  const scale = fit * Math.min(1, 768 / Math.max(1, Math.min(width, height) * fit));
  return 85 + 170 * Math.ceil((width * scale) / 512) * Math.ceil((height * scale) / 512);
}

/** The talk as chat messages. */
function chatMessages(request: JudgeRequest, images: ImagePart[]): ChatMessage[] {
  const messages: ChatMessage[] = request.system === undefined ? [] : [{ role: 'system', content: request.system }];
  for (const [index, { role }] of request.turns.entries()) {
    messages.push({ role, content: turnParts(request, index, images) });
  }
  return messages;
}
