// SPDX-License-Identifier: Apache-2.0
// SteerLM's prompt: the attributes that a response has (pair) or should have (sample).
import type { Message, VprefRecord } from './record.ts';

/** HelpSteer's attributes, integers 0..4, in the order of the prompt. */
export const STEER_ATTRIBUTES = ['helpfulness', 'correctness', 'coherence', 'complexity', 'verbosity'] as const;

/**
 * The lines that request attributes: "...:\nHelpfulness:4,Correctness:4".
 *   Source: findalexli/SteerMLLM RLHF/gpt4_ratings step 3, findalexli/mllm-dpo llava/eval/gen_model_answer.py.
 */
export function steerRequest(attributes: Readonly<Record<string, number>>): string {
  const values = Object.entries(attributes).map(
    ([name, value]) => `${name[0]!.toUpperCase()}${name.slice(1)}:${value}`,
  );
  return `Please answer the question such that your response is in the following attributes in 5-point Likert scale:\n${values.join(',')}`;
}

/** The prompt with an additional line at the end of its last user turn. */
export function withRequest(prompt: VprefRecord['prompt'], request: string): VprefRecord['prompt'] {
  if (typeof prompt === 'string') return `${prompt}\n${request}`;
  const last = prompt.map((message) => message.role).lastIndexOf('user');
  return prompt.map(
    (message, index): Message =>
      index === last ? { role: 'user', content: withLine(message.content, request) } : message,
  );
}

function withLine(content: Message['content'], line: string): Message['content'] {
  if (content === null) return line;
  return typeof content === 'string' ? `${content}\n${line}` : [...content, { type: 'text', text: `\n${line}` }];
}
