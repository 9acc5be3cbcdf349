// SPDX-License-Identifier: Apache-2.0
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { Ajv2020 } from 'ajv/dist/2020.js';
import { optionalFields, recordJsonSchema, recordShape, requiredFields } from '../../src/records/record-shape.ts';
import { root } from '../support/run-cli.ts';

const validate = new Ajv2020({ strict: false }).compile(recordJsonSchema());

const base = { id: 'q1', prompt: 'What?' };
const values: unknown[] = [
  ...[null, 3, 'x', [], {}, { id: 'q1' }, { prompt: 'x' }, { id: '', prompt: 'x' }, base],
  ...[{ role: 'user', content: 'x' }, { role: 'user', content: null }, { role: 'x', content: '' }, 3].map(
    (message) => ({
      id: 'q1',
      prompt: [message],
    }),
  ),
  ...[{ type: 'image' }, { type: 'text', text: 'x' }, { type: 'text' }, { type: 'video' }, null].map((part) => ({
    id: 'q1',
    prompt: [{ role: 'user', content: [part] }],
  })),
];
// Each known field with values of every JSON type, and with one level inside arrays and objects.
const scalars = [null, true, 0, -1, 1.5, '', 'ok', 'image'];
const inner = [
  ...scalars,
  [],
  ['x'],
  [1],
  {},
  { text: 'x' },
  { rule: 'seva' },
  { model: 'm' },
  { name: 'v', ops: [], seed: 1 },
];
for (const field of [...Object.keys(requiredFields), ...Object.keys(optionalFields)])
  for (const value of [...inner, ...inner.map((item) => [item]), ...inner.map((item) => [[item]])])
    values.push({ ...base, [field]: value });
values.push({ ...base, annotations: [{ guide: 'g', judge: 'j', run: 0, outcome: 'ok', scores: [{ a: 1 }, null] }] });
values.push({ ...base, annotations: [{ guide: 'g', judge: 'j', run: 0, outcome: 'ok', scores: [{ a: 'x' }] }] });
values.push(
  { ...base, error: { stage: 's', code: 'c', message: 'm' } },
  { ...base, views: [{ name: 'v', ops: [{}], seed: 1 }] },
);

describe('record schema', () => {
  test('accepts and refuses what the parser accepts and refuses', () => {
    let accepted = 0;
    for (const value of values) {
      const passes = recordShape.check(value) === undefined;
      accepted += passes ? 1 : 0;
      assert.equal(
        validate(value),
        passes,
        `${JSON.stringify(value)}: ${JSON.stringify(recordShape.check(value) ?? validate.errors)}`,
      );
    }
    assert.ok(accepted > 50 && accepted < values.length / 2, `${accepted} of ${values.length}`);
  });

  test('the committed schema is the one that the definition gives', () => {
    const committed = JSON.parse(readFileSync(join(root, 'schema/record.schema.json'), 'utf8'));
    assert.deepEqual(JSON.parse(JSON.stringify(recordJsonSchema())), committed);
  });

  test('the manual page names every field', () => {
    const page = readFileSync(join(root, 'man/vpref-records.5'), 'utf8').replaceAll('\\-', '-');
    for (const field of [...Object.keys(requiredFields), ...Object.keys(optionalFields)])
      assert.ok(page.includes(`\\fB${field}\\fR`), field);
  });

  test('every field has a description', () => {
    for (const [name, { schema }] of Object.entries({ ...requiredFields, ...optionalFields }))
      assert.ok(typeof schema.description === 'string', name);
  });
});
