// SPDX-License-Identifier: Apache-2.0
// LLaVA-Bench (in the wild): questions.jsonl, with context.jsonl and answers_gpt4.jsonl for the judge.
import { isObject } from '../../records/field.ts';
import { idField } from '../../stages/import/format.ts';
import type { JsonItem } from '../../stages/import/json-items.ts';
import { benchmarkFormat, eachOf, idMember, listItems, placeOf, questionsOf, textMember } from '../questions.ts';

export const llavaBenchQuestions = benchmarkFormat(
  'llava-bench',
  'questions.jsonl, with context.jsonl and answers_gpt4.jsonl for the judge',
  async function* (files) {
    const questions: JsonItem[] = [];
    const captions = new Map<string, string>();
    const answers = new Map<string, string>();
    for await (const item of listItems(files)) {
      const value = isObject(item.value) ? item.value : {};
      const { caption, image, text, question_id: id } = value;
      if (caption !== undefined && typeof image === 'string')
        captions.set(image, Array.isArray(caption) ? caption.join('\n') : String(caption));
      else if (image === undefined && typeof text === 'string' && id !== undefined)
        answers.set(idField(value, 'question_id') ?? '', text);
      else questions.push(item);
    }
    yield* questionsOf(eachOf(questions), (value, item) => {
      const place = placeOf(item);
      const id = idMember(value, 'question_id', place);
      const image = textMember(value, 'image', place);
      const [reference, context] = [answers.get(id), captions.get(image)];
      return {
        id,
        reads: ['question_id', 'image', 'text', 'category'],
        draft: {
          images: [image],
          prompt: textMember(value, 'text', place),
          ...(reference !== undefined && { reference }),
          ...(context !== undefined && { context }),
          ...(value.category !== undefined && { meta: { category: value.category } }),
        },
      };
    });
  },
);
