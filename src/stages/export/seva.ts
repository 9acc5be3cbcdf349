// SPDX-License-Identifier: Apache-2.0
// SeVa's preference file: one question about one image, its folder left out (the trainer has a folder per source).
//   Source: Kevinz-code/SeVa data/step3, seva/train_dpo_ours.py.
import { basename } from 'node:path';
import { RecordError } from '../../records/error.ts';
import type { ExportFormat } from './format.ts';

export const seva: ExportFormat = {
  summary: 'SeVa preference pairs, a JSON array; image_id is the file name',
  layout: 'array',
  row({ images, turns, preference }, row) {
    if (preference === undefined) throw new RecordError(row, 'chosen', 'a pair (SeVa has no other rows)', 'nothing');
    if (images.length !== 1) throw new RecordError(row, 'images', 'one image', String(images.length));
    const [turn] = turns;
    if (turns.length !== 1 || turn!.role !== 'user')
      throw new RecordError(
        row,
        'prompt',
        'one user turn',
        `${turns.length} turns, first of ${turn?.role ?? 'nobody'}`,
      );
    const question = turn!.content
      .map((part) => (part.type === 'text' ? part.text : ''))
      .join('')
      .trim();
    return { image_id: basename(images[0]!), question, chosen: preference.chosen, reject: preference.rejected };
  },
};
