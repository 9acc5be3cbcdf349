// SPDX-License-Identifier: Apache-2.0
// LLaMA-Factory's sharegpt form, ranking, KTO or plain; and the entry of dataset_info.json that tells it so.
//   Source: hiyouga/LLaMA-Factory data/README.md, src/llamafactory/data/converter.py.
import { RecordError } from '../../records/error.ts';
import type { Row } from '../stage.ts';
import { type Example, plainText, turnText } from './example.ts';
import type { ExportFormat } from './format.ts';

export const llamaFactory: ExportFormat = {
  summary: 'LLaMA-Factory sharegpt rows, JSON lines; --dataset-info adds their entry',
  layout: 'lines',
  row(example, row) {
    const { images, preference, response, label } = example;
    const { system, conversations } = conversation(example, row);
    if (response !== undefined) conversations.push({ from: 'gpt', value: plainText(row, response, 'response') });
    return {
      conversations,
      ...(preference !== undefined && {
        chosen: { from: 'gpt', value: plainText(row, preference.chosen, 'chosen') },
        rejected: { from: 'gpt', value: plainText(row, preference.rejected, 'rejected') },
      }),
      ...(label !== undefined && { kto_tag: label }),
      system,
      images,
    };
  },
};

/** Turns from human and gpt in turn, human first and last: the reader leaves out whatever is not so. */
function conversation(example: Example, row: Row) {
  const { turns } = example;
  const system = turns[0]?.role === 'system' ? turnText(row, example, 0) : '';
  const first = turns[0]?.role === 'system' ? 1 : 0;
  const conversations = turns.slice(first).map((turn, index) => {
    const expected = index % 2 === 0 ? 'user' : 'assistant';
    if (turn.role !== expected)
      throw new RecordError(row, `prompt[${index + first}].role`, `"${expected}"`, `"${turn.role}"`);
    return { from: turn.role === 'user' ? 'human' : 'gpt', value: turnText(row, example, index + first) };
  });
  if (conversations.length % 2 === 0)
    throw new RecordError(
      row,
      'prompt',
      'a user turn at its end',
      conversations.length === 0 ? 'none' : 'an assistant turn',
    );
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
