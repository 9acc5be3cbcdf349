// SPDX-License-Identifier: Apache-2.0
import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  arrayOf,
  checkShape,
  describeValue,
  either,
  nonEmptyString,
  nothing,
  number,
  object,
  oneOf,
  string,
} from '../../src/records/field.ts';

const at = { source: 'labels.ndjson', line: 7 };
const shape = object(
  { id: nonEmptyString },
  { tags: arrayOf(either(string, object({ name: string }), nothing)), kind: oneOf('a', 'b') },
);

function complaint(value: unknown): string {
  try {
    checkShape(shape, value, at);
  } catch (error) {
    return (error as Error).message;
  }
  return 'accepted';
}

test('a value with the shape is returned as it is, unknown members too', () => {
  const value = { id: 'x', tags: ['t', null, { name: 'n' }], other: { deep: [1] } };
  assert.equal(checkShape(shape, value, at), value);
});

test('an error has file, line, path, expected and actual value', () => {
  assert.equal(complaint({}), 'labels.ndjson:7: id: expected a non-empty string, got nothing');
  assert.equal(complaint({ id: '' }), 'labels.ndjson:7: id: expected a non-empty string, got an empty string');
  assert.equal(complaint({ id: 'x', kind: 3 }), 'labels.ndjson:7: kind: expected "a" or "b", got number 3');
  assert.equal(
    complaint({ id: 'x', tags: [1] }),
    'labels.ndjson:7: tags[0]: expected a string, an object or null, got number 1',
  );
  assert.equal(
    complaint({ id: 'x', tags: ['t', { name: false }] }),
    'labels.ndjson:7: tags[1].name: expected a string, got boolean false',
  );
  assert.equal(complaint([]), 'labels.ndjson:7: record: expected an object, got an empty array');
  assert.equal(complaint(null), 'labels.ndjson:7: record: expected an object, got null');
});

test('a field given by the caller is joined with the path inside it', () => {
  assert.throws(
    () => checkShape(arrayOf(number), ['1'], at, 'scores'),
    /: scores\[0\]: expected a number, got string "1"/,
  );
});

test('values are described in few words', () => {
  assert.equal(describeValue('x'.repeat(100)), `string "${'x'.repeat(40)}"...`);
  assert.equal(describeValue('line\n"quoted"'), String.raw`string "line\n\"quoted\""`);
  assert.equal(describeValue('\u{1f600}'.repeat(30)), `string "${'\u{1f600}'.repeat(20)}"...`);
  assert.equal(describeValue({}), 'an object');
  assert.equal(describeValue([0]), 'an array');
});
