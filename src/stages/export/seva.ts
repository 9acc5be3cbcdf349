// SPDX-License-Identifier: Apache-2.0
// SeVa's preference file: one question about one image, without its folder (the trainer has a folder per source).
//   Source: Kevinz-code/SeVa data/step3, seva/train_dpo_ours.py.

import { basename } from 'node:path';
import { count } from '../../records/count.ts';
import { RecordError } from '../../records/error.ts';
import { plainText, turnParts } from './example.ts';
import type { ExportFormat } from './format.ts';

export const seva: ExportFormat = {
  summary: 'SeVa preference pairs, a JSON array; image_id is the file name',
  layout: 'array',
  holds: ['images', 'prompt', 'chosen', 'rejected'],
  hasFileNamesOnly: true,
  row({ images, turns, preference }, row) {
    if (preference === undefined) throw new RecordError(row, 'chosen', 'a pair (SeVa has no other rows)', 'nothing');
    if (images.length !== 1) throw new RecordError(row, 'images', 'one image', String(images.length));
    const [turn] = turns;
    if (turns.length !== 1 || turn!.role !== 'user')
      throw new RecordError(
        row,
        'prompt',
        'one user turn',
        `${count(turns.length, 'turn')}, first of ${turn?.role ?? 'nobody'}`,
      );
    const parts = turnParts(turn!);
    // Its trainer puts the image before the question.
    if (parts[0]?.type !== 'image')
      throw new RecordError(row, 'prompt', 'the image before the question (SeVa has no other place for it)', 'text');
    const question = parts.map((part) => (part.type === 'text' ? plainText(row, part.text, 'prompt') : '')).join('');
    return {
      image_id: basename(images[0]!),
      question,
      chosen: plainText(row, preference.chosen, 'chosen'),
      reject: plainText(row, preference.rejected, 'rejected'),
    };
  },
};
