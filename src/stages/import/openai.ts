// SPDX-License-Identifier: Apache-2.0
// OpenAI's chat messages with image_url parts: fine-tuning rows, preference rows (input, preferred_output,
// non_preferred_output), and lines of a batch file.
import { RecordError } from '../../records/error.ts';
import { describeValue, isObject, joinPath, type Place } from '../../records/field.ts';
import { imageInParts } from './dialogue-row.ts';
import { type Draft, field, type ImportFormat, idField, imageSource } from './format.ts';
import { isGiven, otherFields } from './item-fields.ts';
import { type ForeignMessage, literalMessages, readMessages, readResponse, responseText } from './messages.ts';

/** The object with the messages: the row, `input` of a preference row, or `body` of a batch line. */
function holderKey(value: unknown): 'input' | 'body' | undefined {
  return (['input', 'body'] as const).find((key) => isObject(field(value, key)));
}

export const openai: ImportFormat = {
  summary: 'OpenAI chat rows: messages with image_url parts, preference and batch rows',
  info(value) {
    const id = idField(value, 'id') ?? idField(value, 'custom_id');
    const key = holderKey(value);
    const messages = field(key === undefined ? value : field(value, key), 'messages');
    return { ...(id !== undefined && { id }), source: imageSource(imageInParts(messages)) };
  },
  draft(value, at, path) {
    if (!isObject(value)) throw new RecordError(at, path || 'item', 'an object', describeValue(value));
    const key = holderKey(value);
    const holder = key === undefined ? value : (value[key] as Record<string, unknown>);
    const holderPath = key === undefined ? path : joinPath(path, key);
    const messages = readMessages(holder.messages, at, joinPath(holderPath, 'messages'));
    const own = ['messages', ...(key === undefined ? [] : ['parallel_tool_calls'])];
    const inside = key === undefined ? {} : otherFields(holder, own, at, holderPath);
    const used = ['id', 'custom_id', ...(key ?? 'messages').split(' ')];
    const { fields, prompt } = target(value, messages, at, path);
    const rest = otherFields(value, [...used, 'preferred_output', 'non_preferred_output'], at, path);
    const meta = { ...rest.meta, ...inside.meta };
    const images = prompt.flatMap((message) => message.images);
    return {
      ...(images.length > 0 && { images }),
      prompt: literalMessages(prompt),
      ...fields,
      ...(Object.keys(meta).length > 0 && { meta }),
    };
  },
};

/** The pair, or the last message if it is a response. */
function target(item: Record<string, unknown>, messages: ForeignMessage[], at: Place, path: string) {
  const isPair = ['preferred_output', 'non_preferred_output'].some((key) => isGiven(item, key));
  const last = messages.at(-1);
  if (isPair) {
    const response = (key: string) => readResponse(item[key], at, joinPath(path, key), 'literal');
    const fields: Partial<Draft> = {
      chosen: response('preferred_output'),
      rejected: response('non_preferred_output'),
      pair: { rule: 'imported' },
    };
    return { prompt: messages, fields };
  }
  if (last?.role !== 'assistant') return { prompt: messages, fields: {} };
  return { prompt: messages.slice(0, -1), fields: { response: responseText(last, at, 'literal') } };
}
