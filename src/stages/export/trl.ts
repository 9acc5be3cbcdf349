// SPDX-License-Identifier: Apache-2.0
// TRL: conversational prompt, chosen and rejected (or completion and label), images as paths for List(Image()).
//   Source: huggingface/trl docs/source/dataset_formats.md, trl/data_utils.py prepare_multimodal_messages (1.13).

import type { Row } from '../../flow/stage.ts';
import type { ContentPart } from '../../records/record.ts';
import { type ExportTurn, plainText, turnParts } from './example.ts';
import { type ExportFormat, Float } from './format.ts';

export const trl: ExportFormat = {
  summary: 'TRL preference, unpaired or prompt-completion rows, JSON lines',
  layout: 'lines',
  holds: [
    'id',
    'images',
    'prompt',
    'chosen',
    'rejected',
    'ref_chosen_logps',
    'ref_rejected_logps',
    'response',
    'label',
  ],
  row({ id, images, turns, preference, response, label }, row, isText) {
    const content = (parts: ContentPart[], field: string) => (isText ? partsText(parts, row, field) : parts);
    const answer = (text: string, field: string) => [
      { role: 'assistant', content: content([{ type: 'text', text }], field) },
    ];
    const made: Record<string, unknown> = { id };
    if (!isText) made.images = images;
    made.prompt = turns.map((turn: ExportTurn, index) => ({
      role: turn.role,
      content: content(turnParts(turn), `prompt[${index}]`),
    }));
    if (preference !== undefined) {
      made.chosen = answer(preference.chosen, 'chosen');
      made.rejected = answer(preference.rejected, 'rejected');
    }
    if (response !== undefined) made.completion = answer(response, 'response');
    if (label !== undefined) made.label = label;
    if (preference?.refLogps !== undefined) {
      made.ref_chosen_logps = new Float(preference.refLogps.chosen);
      made.ref_rejected_logps = new Float(preference.refLogps.rejected);
    }
    return made;
  },
};

/** As one text. Import reads a mark in it as an image; content parts hold marks as text. */
function partsText(parts: ContentPart[], row: Row, field: string): string {
  return parts.map((part) => (part.type === 'text' ? plainText(row, part.text, field) : '')).join('');
}
