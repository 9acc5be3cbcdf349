// SPDX-License-Identifier: Apache-2.0
// MT-Bench: question.jsonl, with reference_answer/gpt-4.jsonl for the judge; and its noisy-image form, in which each turn
// has an unrelated image. Source: FastChat llm_judge; Li et al. 2024, table 7.
import { RecordError } from '../../records/error.ts';
import { describeValue, isObject } from '../../records/field.ts';
import { IMAGE_MARK } from '../../records/prompt.ts';
import { randomStream } from '../../records/random.ts';
import type { Message } from '../../records/record.ts';
import { type Draft, type ImportSetting, idField } from '../../stages/import/format.ts';
import type { JsonItem } from '../../stages/import/json-items.ts';
import { benchmarkFormat, eachOf, idMember, listItems, placeOf, questionsOf } from '../questions.ts';

// Temperatures of gen_model_answer.py; other categories are greedy.
const TEMPERATURES: Record<string, number> = { writing: 0.7, roleplay: 0.7, stem: 0.1, humanities: 0.1 };

export const mtBenchQuestions = benchmarkFormat(
  'mt-bench',
  'question.jsonl, with reference_answer/gpt-4.jsonl for the judge; --noisy-images puts an unrelated image into each turn',
  async function* (files, setting) {
    const questions: JsonItem[] = [];
    const references = new Map<string, string[]>();
    for await (const item of listItems(files)) {
      const value = isObject(item.value) ? item.value : {};
      const choice = Array.isArray(value.choices) ? value.choices[0] : undefined;
      if (isObject(choice) && Array.isArray(choice.turns))
        references.set(idField(value, 'question_id') ?? '', choice.turns.map(String));
      else questions.push(item);
    }
    yield* questionsOf(eachOf(questions), (value, item) => {
      const place = placeOf(item);
      const id = idMember(value, 'question_id', place);
      const texts = value.turns;
      if (
        !Array.isArray(texts) ||
        texts.length === 0 ||
        !texts.every((text) => typeof text === 'string' && text !== '')
      )
        throw new RecordError(item, 'turns', 'a list of questions', describeValue(texts));
      const category = String(value.category ?? '');
      const own = Array.isArray(value.reference) ? value.reference.map(String) : undefined;
      const reference = references.get(id) ?? own;
      const { meta, ...turns } = turnsDraft(id, texts, setting);
      return {
        id,
        reads: ['question_id', 'category', 'turns', 'reference'],
        draft: {
          ...turns,
          ...(reference !== undefined && { reference }),
          sampling_params: { temperature: TEMPERATURES[category] ?? 0, max_new_tokens: 1024 },
          meta: { category, ...meta },
        },
      };
    });
  },
  ['noisy-images'],
);

function turnsDraft(id: string, texts: string[], { seed, noisyImages, literalMarker }: ImportSetting): Draft {
  const images = noisyImages && texts.map((_, turn) => drawImage(noisyImages, seed, id, turn));
  const isMarked = images !== undefined || literalMarker;
  const prompt = texts.flatMap((text, index): Message[] => [
    ...(index > 0 ? [{ role: 'assistant' as const, content: null }] : []),
    { role: 'user', content: isMarked ? `${IMAGE_MARK}\n${text}` : text },
  ]);
  return {
    ...(images !== undefined && !literalMarker && { images }),
    prompt,
    ...(images !== undefined && { meta: { noisy_images: images } }),
  };
}

function drawImage(images: readonly string[], seed: number, id: string, turn: number): string {
  return images[randomStream(seed, `mt-bench/${id}`, 'noisy image', String(turn)).nextInt(images.length)]!;
}
