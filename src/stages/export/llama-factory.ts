// SPDX-License-Identifier: Apache-2.0
// LLaMA-Factory's sharegpt form, ranking, KTO or plain; and its entry in dataset_info.json.
//   Source: hiyouga/LLaMA-Factory data/README.md, src/llamafactory/data/converter.py.

import type { Row } from '../../flow/stage.ts';
import { RecordError } from '../../records/error.ts';
import { checkAlternation, type Example, MEDIA_MARKS, plainText, turnText } from './example.ts';
import type { ExportFormat } from './format.ts';

export const llamaFactory: ExportFormat = {
  summary: 'LLaMA-Factory sharegpt rows, JSON lines; --dataset-info adds their entry',
  layout: 'lines',
  holds: ['images', 'prompt', 'chosen', 'rejected', 'response', 'label'],
  row(example, row) {
    const { images, preference, response, label } = example;
    const { system, conversations } = conversation(example, row);
    if (response !== undefined)
      conversations.push({ from: 'gpt', value: plainText(row, response, 'response', MEDIA_MARKS) });
    return {
      conversations,
      ...(preference !== undefined && {
        chosen: { from: 'gpt', value: plainText(row, preference.chosen, 'chosen', MEDIA_MARKS) },
        rejected: { from: 'gpt', value: plainText(row, preference.rejected, 'rejected', MEDIA_MARKS) },
      }),
      ...(label !== undefined && { kto_tag: label }),
      system,
      images,
    };
  },
};

/** Alternating human and gpt turns, human first and last: the reader drops other conversations. */
function conversation(example: Example, row: Row) {
  const { turns } = example;
  const text = (index: number) => turnText(row, example, index, MEDIA_MARKS);
  const first = turns[0]?.role === 'system' ? 1 : 0;
  const system = first === 1 ? text(0) : '';
  if (first === 1 && system === '')
    throw new RecordError(row, 'prompt[0].content', 'a system text (none is the empty one here)', 'an empty string');
  checkAlternation(row, turns);
  const conversations = turns.slice(first).map(({ role }, index) => {
    return { from: role === 'user' ? 'human' : 'gpt', value: text(index + first) };
  });
  return { system, conversations };
}

/** The entry of dataset_info.json for a file with rows like this one. */
export function datasetEntry(fileName: string, row: Record<string, unknown>): Record<string, unknown> {
  const columns: Record<string, string> = { messages: 'conversations', system: 'system', images: 'images' };
  for (const key of ['chosen', 'rejected', 'kto_tag']) if (key in row) columns[key] = key;
  return {
    file_name: fileName,
    formatting: 'sharegpt',
    ...('chosen' in row && { ranking: true }),
    columns,
    tags: { role_tag: 'from', content_tag: 'value', user_tag: 'human', assistant_tag: 'gpt', system_tag: 'system' },
  };
}
