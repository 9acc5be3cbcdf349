// SPDX-License-Identifier: Apache-2.0
// mm-vet.json (id -> question), or LLaVA's question rows. The questions are unchanged.

import type { ImportFile } from '../../stages/import/format.ts';
import { readItems } from '../../stages/import/items.ts';
import type { JsonItem } from '../../stages/import/json-items.ts';
import {
  type BenchmarkQuestion,
  benchmarkFormat,
  llavaQuestion,
  objectItems,
  placeOf,
  questionsOf,
  textMember,
} from '../questions.ts';
import { mmvetId } from './score.ts';

export const mmvetQuestions = benchmarkFormat(
  'mmvet',
  "MM-Vet's mm-vet.json, or LLaVA's llava-mm-vet.jsonl",
  async function* (files) {
    for (const file of files)
      yield* questionsOf(itemsOf(file), (value, item) => llavaQuestion(value, item, mmvetId) ?? question(value, item));
  },
);

function itemsOf(file: ImportFile): AsyncIterable<JsonItem> {
  return /\.jsonl(\.gz)?$|\.ndjson$/.test(file.source) ? readItems(file) : objectItems([file]);
}

function question(value: Record<string, unknown>, item: JsonItem): BenchmarkQuestion {
  const place = placeOf(item);
  const { capability, imagesource } = value;
  return {
    id: item.path,
    reads: ['imagename', 'question', 'answer', 'capability', 'imagesource'],
    draft: {
      images: [textMember(value, 'imagename', place)],
      prompt: textMember(value, 'question', place),
      reference: textMember(value, 'answer', place),
      meta: { capability, ...(imagesource !== undefined && { imagesource }) },
    },
  };
}
