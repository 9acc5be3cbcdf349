// SPDX-License-Identifier: Apache-2.0
// Covers src/records/json-chars.ts
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type JsonItem, readJsonItems, readJsonValue } from '../../../src/stages/import/json-items.ts';

async function items(text: string | Uint8Array, chunkBytes = 1 << 16): Promise<JsonItem[]> {
  const bytes = Buffer.from(text as string);
  const chunks = Array.from({ length: Math.ceil(bytes.length / chunkBytes) }, (_, index) =>
    bytes.subarray(index * chunkBytes, (index + 1) * chunkBytes),
  );
  const found: JsonItem[] = [];
  for await (const item of readJsonItems(chunks, 'f')) found.push(item);
  return found;
}

const brief = (found: JsonItem[]) => found.map(({ line, path, value, error }) => [line, path, error?.message ?? value]);

const tricky = [
  { a: 'quote " and \\ and \\" [ ] { } ,', 'k,"': [1, [2, []], {}] },
  'text with ] and , in it',
  12.5,
  null,
  [],
  {},
  { deep: [[[[{ x: '\u00e9\u{1f600}' }]]]] },
  '\\',
  '\\\\"',
];

test('an array comes out item by item, wherever the chunks are cut', async () => {
  for (const indent of [0, 1, 2]) {
    const text = JSON.stringify(tricky, null, indent);
    for (const size of [1, 2, 3, 5, 7, 64, 1 << 16])
      assert.deepEqual(
        (await items(text, size)).map((item) => item.value),
        tricky,
        `indent ${indent}, chunks of ${size}`,
      );
  }
});

test('items know their line and their place', async () => {
  assert.deepEqual(brief(await items('\n[\n  {"a":1},\n\n  {"b":\n2},3\n]\n')), [
    [3, '[0]', { a: 1 }],
    [5, '[1]', { b: 2 }],
    [6, '[2]', 3],
  ]);
});

test('JSON lines, printed objects, a byte order mark, an empty file', async () => {
  assert.deepEqual(brief(await items('\ufeff{"a":1}\r\n\n{"b":2}')), [
    [1, '', { a: 1 }],
    [3, '', { b: 2 }],
  ]);
  for (const size of [1, 3, 1 << 16])
    assert.deepEqual(brief(await items('{\n "a": "}{"\n}\n{\n "b": [2]\n}', size)), [
      [1, '', { a: '}{' }],
      [4, '', { b: [2] }],
    ]);
  assert.deepEqual(brief(await items('\ufeff[1]')), [[1, '[0]', 1]]);
  for (const text of ['', ' \n\t', '[]', '[ \n ]']) assert.deepEqual(await items(text), []);
});

test('a bad item is an error with its place, and the next one is read', async () => {
  assert.deepEqual(brief(await items('[{"a":1},{"a" 1},{"a":2}]')), [
    [1, '[0]', { a: 1 }],
    [1, '[1]', 'f:1: [1]: expected a JSON value, got bad JSON: unexpected "1" at column 6'],
    [1, '[2]', { a: 2 }],
  ]);
  const bytes = Buffer.concat([Buffer.from('["'), Buffer.from([0xff]), Buffer.from('", 2]')]);
  assert.deepEqual(brief(await items(bytes)), [
    [1, '[0]', 'f:1: [0]: expected UTF-8, got bytes that are not'],
    [1, '[1]', 2],
  ]);
});

test('what is cut short, left over or left out is an error', async () => {
  const last = async (text: string) => (await items(text)).at(-1)?.error?.message;
  assert.equal(await last('[1,\n{"a":'), 'f:2: [1]: expected the rest of the item, got the end of the file');
  assert.equal(await last('[1,\n'), 'f:2: [1]: expected an item or "]", got the end of the file');
  assert.equal(await last('["abc'), 'f:1: [0]: expected the rest of the item, got the end of the file');
  assert.equal(await last('[1]\n[2]'), 'f:2: file: expected nothing after the array, got "[2]"');
  assert.equal(await last('[1,,2]'), undefined);
  assert.equal((await items('[1,,2]'))[1]!.error!.message, 'f:1: [1]: expected a JSON value, got nothing');
  assert.equal(await last('[1,]'), 'f:1: [1]: expected a JSON value, got nothing');
  assert.match((await last('{\n"a": 1'))!, /^f:1: item: expected a JSON value, got bad JSON: it ends at column 8/);
});

test('readJsonValue gives the whole file', async () => {
  assert.deepEqual(await readJsonValue([Buffer.from('{"v1":'), Buffer.from('{}}')], 'f'), { v1: {} });
  await assert.rejects(readJsonValue([Buffer.from('{')], 'f'), /f:1: file: expected a JSON value/);
});
