// SPDX-License-Identifier: Apache-2.0
// GQA's questions (testdev_balanced_questions.json), or LLaVA's question rows.

import { readItems } from '../../stages/import/items.ts';
import {
  benchmarkFormat,
  idMember,
  llavaQuestion,
  objectItems,
  placeOf,
  questionsOf,
  SHORT_ANSWER,
  textMember,
  withEnding,
} from '../questions.ts';

// The scorer reads these from the same file, so records do not keep them.
const FIELDS =
  'question answer fullAnswer imageId types semantic semanticStr groups isBalanced entailed equivalent annotations'.split(
    ' ',
  );

export const gqaQuestions = benchmarkFormat(
  'gqa',
  "testdev_balanced_questions.json, or LLaVA's llava_gqa_testdev_balanced.jsonl",
  async function* (files, setting) {
    for (const file of files) {
      if (/\.jsonl(\.gz)?$|\.ndjson$/.test(file.source)) {
        yield* questionsOf(readItems(file), (value, item) => llavaQuestion(value, item));
        continue;
      }
      yield* questionsOf(objectItems([file]), (value, item) => {
        const place = placeOf(item);
        return {
          id: item.path,
          reads: FIELDS,
          draft: {
            images: [`${idMember(value, 'imageId', place)}.jpg`],
            prompt: withEnding(textMember(value, 'question', place), SHORT_ANSWER, setting),
            reference: textMember(value, 'answer', place),
            ...(value.types !== undefined && { meta: { types: value.types } }),
          },
        };
      });
    }
  },
  ['protocol'],
);
