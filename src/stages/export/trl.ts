// SPDX-License-Identifier: Apache-2.0
// TRL: conversational prompt, chosen and rejected (or completion and label), images as paths for List(Image()).
//   Source: huggingface/trl docs/source/dataset_formats.md, trl/data_utils.py prepare_multimodal_messages (1.13).
import type { ContentPart } from '../../records/record.ts';
import type { Turn } from './example.ts';
import { type ExportFormat, Float } from './format.ts';

export const trl: ExportFormat = {
  summary: 'TRL preference, unpaired or prompt-completion rows, JSON lines',
  layout: 'lines',
  row({ id, images, turns, preference, response, label }, _row, isText) {
    const content = isText ? partsText : (parts: ContentPart[]) => parts;
    const answer = (text: string) => [{ role: 'assistant', content: content([{ type: 'text', text }]) }];
    return {
      id,
      ...(!isText && { images }),
      prompt: turns.map(({ role, content: parts }: Turn) => ({ role, content: content(parts) })),
      ...(preference !== undefined && { chosen: answer(preference.chosen), rejected: answer(preference.rejected) }),
      ...(response !== undefined && { completion: answer(response) }),
      ...(label !== undefined && { label }),
      ...(preference?.refLogps && {
        ref_chosen_logps: new Float(preference.refLogps.chosen),
        ref_rejected_logps: new Float(preference.refLogps.rejected),
      }),
    };
  },
};

function partsText(parts: ContentPart[]): string {
  return parts.map((part) => (part.type === 'text' ? part.text : '')).join('');
}
