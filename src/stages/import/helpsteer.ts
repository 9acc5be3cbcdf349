// SPDX-License-Identifier: Apache-2.0
// HelpSteer and HelpSteer2: one row per response with five scored attributes; rows of a prompt are adjacent.
import { checkShape, number, object, string } from '../../records/field.ts';
import { STEER_ATTRIBUTES } from '../../records/steerlm.ts';
import { field, type ImportFormat } from './format.ts';
import { otherFields } from './item-fields.ts';
import { readItems } from './items.ts';
import type { JsonItem } from './json-items.ts';

const metrics = Object.fromEntries(STEER_ATTRIBUTES.map((name) => [name, number]));
const shape = object({ prompt: string, response: string, ...metrics }) as ReturnType<typeof object>;

export const helpsteer: ImportFormat = {
  summary: 'HelpSteer rows (train.jsonl): each prompt with its responses, graded by people',
  marksMayBeText: true,
  async *items(file) {
    let group: (JsonItem & { value: unknown[] }) | undefined;
    for await (const item of readItems(file)) {
      const prompt = field(item.value, 'prompt');
      if (group !== undefined && typeof prompt === 'string' && prompt === field(group.value[0], 'prompt')) {
        group.value.push(item.value);
        continue;
      }
      if (group !== undefined) yield group;
      group = undefined;
      if (item.error !== undefined) yield item;
      else group = { ...item, value: [item.value] };
    }
    if (group !== undefined) yield group;
  },
  info: () => ({ source: 'helpsteer' }),
  draft(value, at, path) {
    // Rows of a group are on successive lines, or at successive array indices.
    const rows = (value as unknown[]).map(
      (row, index) =>
        checkShape(shape, row, path === '' ? { ...at, line: at.line + index } : at, path) as Record<
          string,
          string & number
        >,
    );
    const others = rows.map((row) => otherFields(row, ['prompt', 'response', ...STEER_ATTRIBUTES], at, path).meta);
    const scores = rows.map((row) => Object.fromEntries(STEER_ATTRIBUTES.map((name) => [name, row[name]!])));
    return {
      prompt: rows[0]!.prompt!,
      responses: rows.map((row) => ({ text: row.response! })),
      annotations: [{ guide: 'helpsteer', judge: 'human', run: 0, outcome: 'ok', scores }],
      ...(others.some((meta) => meta !== undefined) && { meta: { rows: others.map((meta) => meta ?? {}) } }),
    };
  },
};
