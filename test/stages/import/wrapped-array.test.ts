// SPDX-License-Identifier: Apache-2.0
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readJsonItems } from '../../../src/stages/import/json-items.ts';

async function read(text: string, size = text.length) {
  const bytes = Buffer.from(text);
  const chunks = Array.from({ length: Math.ceil(bytes.length / size) }, (_, n) =>
    bytes.subarray(n * size, (n + 1) * size),
  );
  const items = [];
  for await (const { line, path, value, error } of readJsonItems(chunks, 'f'))
    items.push(error ? error.message : [line, path, value]);
  return items;
}

test('an array alone in an object is read as the array, whatever the chunks', async () => {
  for (const size of [1, 2, 7, 1000]) {
    assert.deepEqual(await read('{"data":[{"a":1},{"a":"}"}]}', size), [
      [1, 'data[0]', { a: 1 }],
      [1, 'data[1]', { a: '}' }],
    ]);
    assert.deepEqual(await read('\ufeff{\n  "train" : [\n  {"a":1},\n  {"a":2}\n  ]\n}\n', size), [
      [3, 'train[0]', { a: 1 }],
      [4, 'train[1]', { a: 2 }],
    ]);
    assert.deepEqual(await read('{"items":[]}', size), []);
  }
});

test('what stands beside or behind the array, and a file that is cut, are errors', async () => {
  assert.deepEqual(await read('{"data":[1],"n":2}'), [
    [1, 'data[0]', 1],
    'f:1: file: expected nothing after the array, got ",\\"n\\":2"',
  ]);
  assert.deepEqual(await read('{"data":[1]\n'), [
    [1, 'data[0]', 1],
    'f:1: data: expected "}" after the array, got the end of the file',
  ]);
  assert.match(String((await read('{"data":[1,')).at(-1)), /expected an item or "\]", got the end of the file/);
});

test('objects with other members are items', async () => {
  assert.deepEqual(await read('{"messages":[1],"id":"a"}\n{"id":"b"}'), [
    [1, '', { messages: [1], id: 'a' }],
    [2, '', { id: 'b' }],
  ]);
  assert.deepEqual(await read('{\n"id":"a"\n}\n{\n"id":"b"\n}'), [
    [1, '', { id: 'a' }],
    [4, '', { id: 'b' }],
  ]);
});
