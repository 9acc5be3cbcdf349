// SPDX-License-Identifier: Apache-2.0
// HallusionBench.json: questions about figures, about edited figures, and without a figure.
import { RecordError } from '../../records/error.ts';
import { describeValue } from '../../records/field.ts';
import {
  benchmarkFormat,
  listItems,
  placeOf,
  questionsOf,
  SHORT_ANSWER,
  textMember,
  withEnding,
} from '../questions.ts';
import { figureLabel } from './label.ts';

const FIELDS = (
  'category subcategory visual_input set_id figure_id question_id sample_note question gt_answer gt_answer_details ' +
  'filename'
).split(' ');

export const hallusionBenchQuestions = benchmarkFormat(
  'hallusionbench',
  'HallusionBench.json',
  (files, setting) =>
    questionsOf(listItems(files), (value, item) => {
      const place = placeOf(item);
      const { id, isYes } = figureLabel(value, item);
      const { filename, gt_answer_details: details, sample_note: note } = value;
      if (value.visual_input !== '0' && typeof filename !== 'string')
        throw new RecordError(item, `${item.path}.filename`, 'a path', describeValue(filename));
      return {
        id,
        reads: FIELDS,
        draft: {
          ...(typeof filename === 'string' && { images: [filename.replace(/^\.\//, '')] }),
          prompt: withEnding(textMember(value, 'question', place), SHORT_ANSWER, setting, 'plain'),
          ...(isYes !== undefined && { reference: isYes ? 'yes' : 'no' }),
          ...(typeof details === 'string' && { context: details }),
          meta: { visual_input: String(value.visual_input), ...(typeof note === 'string' && { sample_note: note }) },
        },
      };
    }),
  ['protocol'],
);
