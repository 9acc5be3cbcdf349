// SPDX-License-Identifier: Apache-2.0
// SeVa's preference files: {image_id, question, chosen, reject}.
import { checkShape, joinPath, nonEmptyString, object, string } from '../../records/field.ts';
import type { ImportFormat } from './format.ts';
import { otherFields } from './item-fields.ts';
import { readResponse } from './messages.ts';

const shape = object({ image_id: nonEmptyString, question: nonEmptyString, chosen: string, reject: string });

export const seva: ImportFormat = {
  summary: 'SeVa preference pairs: image_id, question, chosen, reject',
  info: () => ({ source: 'seva' }),
  draft(value, at, path) {
    const item = checkShape(shape, value, at, path);
    return {
      images: [item.image_id],
      prompt: item.question,
      chosen: readResponse(item.chosen, at, joinPath(path, 'chosen')),
      rejected: readResponse(item.reject, at, joinPath(path, 'reject')),
      pair: { rule: 'imported' },
      ...otherFields(item, ['image_id', 'question', 'chosen', 'reject'], at, path),
    };
  },
};
