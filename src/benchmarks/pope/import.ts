// SPDX-License-Identifier: Apache-2.0
// POPE's label files (random, popular, adversarial), or LLaVA's question file of all three.

import { readItems } from '../../stages/import/items.ts';
import { benchmarkFormat, idMember, placeOf, questionsOf, SHORT_ANSWER, textMember, withEnding } from '../questions.ts';
import { popeSplitOf } from './score.ts';

export const popeQuestions = benchmarkFormat(
  'pope',
  "POPE's coco_pope_*.json, or LLaVA's llava_pope_test.jsonl",
  async function* (files, setting) {
    for (const file of files) {
      const stem = file.source.replace(/^.*[\\/]/, '').replace(/\.\w+$/, '');
      yield* questionsOf(readItems(file), (value, item) => {
        const place = placeOf(item);
        const { label, category } = value;
        return {
          id: idMember(value, 'question_id', place),
          split: popeSplitOf(typeof category === 'string' ? category : stem),
          reads: ['question_id', 'image', 'text', 'label', 'category'],
          draft: {
            images: [textMember(value, 'image', place)],
            // The official questions and SeVa's have no ending; LLaVA's file already has one.
            prompt: withEnding(textMember(value, 'text', place), SHORT_ANSWER, setting, 'plain'),
            ...(typeof label === 'string' && { reference: label }),
          },
        };
      });
    }
  },
  ['protocol'],
);
