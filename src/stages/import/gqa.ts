// SPDX-License-Identifier: Apache-2.0
// GQA's questions (testdev_balanced_questions.json), or LLaVA's question rows.

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
} from './benchmark.ts';
import { readItems } from './items.ts';

export const gqa = benchmarkFormat(
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
);
