// SPDX-License-Identifier: Apache-2.0
// Pairs of responses with a human preference: VL-RewardBench's rows, or any rows with chosen and rejected.
import { RecordError } from '../../records/error.ts';
import { describeValue } from '../../records/field.ts';
import { randomStream } from '../../records/random.ts';
import { oneOfColumns } from '../../stages/import/item-fields.ts';
import { benchmarkFormat, idMember, listItems, placeOf, questionsOf, textMember } from '../questions.ts';
import { preferredOf } from './label.ts';

const QUESTION = ['query', 'question', 'prompt'];

export const judgeAgreementQuestions = benchmarkFormat(
  'judge-agreement',
  "pairs with a preferred answer: VL-RewardBench's rows, or question, chosen and rejected",
  (files, setting) =>
    questionsOf(listItems(files), (value, item) => {
      const place = placeOf(item);
      const id = idMember(value, 'id', place);
      const question = oneOfColumns(value, QUESTION, item, item.path) ?? 'query';
      const image = oneOfColumns(value, ['image', 'images'], item, item.path);
      const images = image === undefined ? [] : [value[image]].flat();
      if (!images.every((one) => typeof one === 'string'))
        throw new RecordError(item, image!, 'a path, or a list of paths', describeValue(value[image!]));
      const pair = isPair(value)
        ? shuffled([textMember(value, 'chosen', place), textMember(value, 'rejected', place)], setting.seed, id)
        : ranked(value.response, preferredOf(value.human_ranking, item, 'human_ranking'), item);
      const { category } = value;
      return {
        id,
        reads: ['id', ...QUESTION, 'image', 'images', 'response', 'human_ranking', 'chosen', 'rejected', 'category'],
        draft: {
          ...(images.length > 0 && { images: images as string[] }),
          prompt: textMember(value, question, place),
          responses: pair.texts.map((text) => ({ text })),
          meta: { preferred: pair.preferred, ...(typeof category === 'string' && { category }) },
        },
      };
    }),
);

interface Pair {
  texts: string[];
  preferred: number;
}

function isPair(value: Record<string, unknown>): boolean {
  return value.chosen !== undefined && value.response === undefined;
}

function ranked(texts: unknown, preferred: number, item: { source: string; line: number }): Pair {
  if (Array.isArray(texts) && texts.length === 2 && texts.every((text) => typeof text === 'string'))
    return { texts, preferred };
  throw new RecordError(item, 'response', 'two answers', describeValue(texts));
}

// Shuffled, because in file order the first would always be right.
function shuffled([chosen, rejected]: [string, string], seed: number, id: string): Pair {
  const preferred = randomStream(seed, id, 'judge-agreement/order').nextInt(2);
  return { texts: preferred === 0 ? [chosen, rejected] : [rejected, chosen], preferred };
}
