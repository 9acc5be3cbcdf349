// SPDX-License-Identifier: Apache-2.0
// MMHal-Bench: response_template.json, 96 questions identified by position. Answers in the file become responses.
import { RecordError } from '../../records/error.ts';
import { describeValue } from '../../records/field.ts';
import { benchmarkFormat, listItems, placeOf, questionsOf, textMember } from '../questions.ts';

const FIELDS = 'question_type question_topic image_id image_src image_content question gt_answer model_answer'.split(
  ' ',
);

export const mmhalQuestions = benchmarkFormat(
  'mmhal',
  "MMHal-Bench's response_template.json (mmhal-bench_answer_template.json)",
  async function* (files) {
    let position = 0;
    yield* questionsOf(listItems(files), (value, item) => {
      const place = placeOf(item);
      const { question_type, question_topic, image_content: contents, model_answer: answer } = value;
      if (!Array.isArray(contents) || !contents.every((name) => typeof name === 'string'))
        throw new RecordError(item, `${item.path}.image_content`, 'a list of names', describeValue(contents));
      return {
        id: String(position++),
        reads: FIELDS,
        draft: {
          // The file name in the image's URL.
          images: [textMember(value, 'image_src', place).replace(/^.*\//, '')],
          prompt: textMember(value, 'question', place),
          reference: textMember(value, 'gt_answer', place),
          context: `Image contents: ${contents.join(', ')}`,
          ...(typeof answer === 'string' && answer !== '' && { responses: [{ text: answer }] }),
          meta: { question_type, question_topic },
        },
      };
    });
  },
);
