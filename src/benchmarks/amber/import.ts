// SPDX-License-Identifier: Apache-2.0
// AMBER: a query file, and annotations.json with the truth.
import { RecordError } from '../../records/error.ts';
import { describeValue, isObject } from '../../records/field.ts';
import type { JsonItem } from '../../stages/import/json-items.ts';
import {
  benchmarkFormat,
  eachOf,
  idMember,
  listItems,
  placeOf,
  questionsOf,
  SHORT_ANSWER,
  textMember,
  withEnding,
} from '../questions.ts';
import { GENERATIVE } from './label.ts';

export const amberQuestions = benchmarkFormat(
  'amber',
  'query_*.json, with annotations.json for the truth',
  async function* (files, setting) {
    const questions: JsonItem[] = [];
    const truths = new Map<string, Record<string, unknown>>();
    for await (const item of listItems(files)) {
      if (isObject(item.value) && 'type' in item.value && !('query' in item.value))
        truths.set(idMember(item.value, 'id', placeOf(item)), item.value);
      else questions.push(item);
    }
    yield* questionsOf(eachOf(questions), (value, item) => {
      const place = placeOf(item);
      const id = idMember(value, 'id', place);
      const known = truths.get(id);
      if (known === undefined && truths.size > 0)
        throw new RecordError(item, `${item.path}.id`, 'an id of annotations.json', describeValue(value.id));
      const query = textMember(value, 'query', place);
      const isGenerative = known?.type === GENERATIVE;
      return {
        id,
        reads: ['id', 'image', 'query'],
        draft: {
          images: [textMember(value, 'image', place)],
          prompt: isGenerative ? query : withEnding(query, SHORT_ANSWER, setting, 'plain'),
          ...(known !== undefined && !isGenerative && { reference: String(known.truth) }),
          ...(known !== undefined && {
            meta: { type: known.type, ...(isGenerative && { truth: known.truth, hallu: known.hallu }) },
          }),
        },
      };
    });
  },
  ['protocol'],
);
