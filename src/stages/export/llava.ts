// SPDX-License-Identifier: Apache-2.0
// LLaVA's instruction data, with one answer: the response, or a pair's chosen response.
//   Source: haotian-liu/LLaVA docs/Finetune_Custom_Data.md.
import { RecordError } from '../../records/error.ts';
import { checkAlternation, type Marks, plainText, turnText } from './example.ts';
import type { ExportFormat } from './format.ts';

// LLaVA's video models use this mark; import refuses it.
const VIDEO_LINES: Marks = [[/^<(?:video|audio)>\s*\n|\n<(?:video|audio)>\s*$/, 'a video']];

export const llava: ExportFormat = {
  summary: 'LLaVA instruction data, a JSON array; of a pair, the chosen answer',
  layout: 'array',
  chosenOnly: true,
  optional: ['image'],
  holds: ['id', 'images', 'prompt', 'chosen', 'response'],
  row(example, row) {
    const { id, images, turns, preference, response } = example;
    const speakers = { user: 'human', assistant: 'gpt' };
    const answer = preference?.chosen ?? response!;
    if (turns[0]?.role !== 'system') checkAlternation(row, turns);
    return {
      id,
      ...(images.length > 0 && { image: images.length === 1 ? images[0] : images }),
      conversations: [
        ...turns.map((turn, index) => {
          if (turn.role === 'system')
            throw new RecordError(
              row,
              `prompt[${index}].role`,
              '"user" or "assistant" (LLaVA has a fixed system text)',
              '"system"',
            );
          return {
            from: speakers[turn.role],
            value: plainText(row, turnText(row, example, index), `prompt[${index}]`, VIDEO_LINES),
          };
        }),
        { from: 'gpt', value: plainText(row, answer, preference === undefined ? 'response' : 'chosen') },
      ],
    };
  },
};
