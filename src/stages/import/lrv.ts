// SPDX-License-Identifier: Apache-2.0
// LRV-Instruct: {image_id, question, answer, task}; images are Visual Genome's, named <image_id>.jpg.
import { idText } from '../../records/exact.ts';
import { checkShape, either, integer, nonEmptyString, object, string } from '../../records/field.ts';
import type { ImportFormat } from './format.ts';
import { otherFields } from './item-fields.ts';

const shape = object({ image_id: either(nonEmptyString, integer), question: nonEmptyString, answer: string });

export const lrv: ImportFormat = {
  summary: 'LRV-Instruct: image_id, question, answer, task',
  flags: ['turns'],
  info: () => ({ source: 'lrv', numTurns: 1 }),
  draft(value, at, path) {
    const item = checkShape(shape, value, at, path);
    const name = typeof item.image_id === 'number' ? idText(item, 'image_id') : item.image_id;
    return {
      images: [/\.(jpe?g|png|webp)$/i.test(name) ? name : `${name}.jpg`],
      turns: [{ question: item.question, response: item.answer }],
      ...otherFields(item, ['image_id', 'question', 'answer'], at, path),
    };
  },
};
