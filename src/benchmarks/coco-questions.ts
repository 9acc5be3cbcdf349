// SPDX-License-Identifier: Apache-2.0
// Captioning prompts for COCO images: rows with an image (file name or number) and the question.

import { RecordError } from '../records/error.ts';
import { describeValue } from '../records/field.ts';
import { oneOfColumns } from '../stages/import/item-fields.ts';
import { benchmarkFormat, listItems, placeOf, questionsOf, textMember } from './questions.ts';

import { cocoId } from './scoring/coco.ts';

const TEXT = ['text', 'question', 'prompt'];

/** The importer that the two benchmarks of COCO captions share. */
export function cocoQuestions(name: string, summary: string) {
  return benchmarkFormat(name, summary, (files) =>
    questionsOf(listItems(files), (value, item) => {
      const place = placeOf(item);
      const text = oneOfColumns(value, TEXT, item, item.path) ?? 'text';
      const { image, image_id: number, question_id, category } = value;
      if (image !== undefined && typeof image !== 'string')
        throw new RecordError(item, 'image', 'a file name', describeValue(image));
      // An image within the row (a data: URI, base64) has no number in its name.
      const isFile = image !== undefined && image.length < 1000 && !image.startsWith('data:');
      const id = number ?? (isFile ? image : undefined);
      if (typeof id !== 'number' && typeof id !== 'string')
        throw new RecordError(item, 'image_id', "COCO's number of the image, or its file name", describeValue(id));
      return {
        id: cocoId(String(id)),
        reads: [...TEXT, 'image', 'image_id', 'question_id', 'category'],
        draft: {
          images: [image ?? `COCO_val2014_${cocoId(String(id)).padStart(12, '0')}.jpg`],
          prompt: textMember(value, text, place),
          meta: {
            ...(question_id !== undefined && { source_question_id: question_id }),
            ...(typeof category === 'string' && { category }),
          },
        },
      };
    }),
  );
}
