// SPDX-License-Identifier: Apache-2.0
// ms-swift: messages that end with the chosen response, rejected_response, images and rejected_images.
//   Source: modelscope/ms-swift docs/source_en/Customization/Custom-dataset.md.
import { checkAlternation, MEDIA_MARKS, plainText, turnText } from './example.ts';
import type { ExportFormat } from './format.ts';

export const msSwift: ExportFormat = {
  summary: 'ms-swift messages with rejected_response or label, JSON lines',
  layout: 'lines',
  holds: ['images', 'prompt', 'chosen', 'rejected', 'rejected_images', 'response', 'label'],
  row(example, row) {
    const { images, turns, preference, response, label } = example;
    checkAlternation(row, turns);
    const answer =
      preference === undefined
        ? plainText(row, response!, 'response', MEDIA_MARKS)
        : plainText(row, preference.chosen, 'chosen', MEDIA_MARKS);
    return {
      messages: [
        ...turns.map((turn, index) => ({ role: turn.role, content: turnText(row, example, index, MEDIA_MARKS) })),
        { role: 'assistant', content: answer },
      ],
      ...(preference !== undefined && {
        rejected_response: plainText(row, preference.rejected, 'rejected', MEDIA_MARKS),
      }),
      ...(label !== undefined && { label }),
      images,
      ...(preference?.rejectedImages !== undefined && { rejected_images: preference.rejectedImages }),
    };
  },
};
