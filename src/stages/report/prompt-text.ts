// SPDX-License-Identifier: Apache-2.0
import type { VprefRecord } from '../../records/record.ts';

/** A prompt as text: a dialogue with roles, images as <image>. */
export function promptText({ prompt }: Pick<VprefRecord, 'prompt'>): string {
  if (typeof prompt === 'string') return prompt;
  return prompt
    .map(({ role, content }) => {
      const text =
        typeof content === 'string'
          ? content
          : (content ?? []).map((part) => (part.type === 'text' ? part.text : '<image>')).join('');
      return `${role}: ${text}`;
    })
    .join('\n');
}
