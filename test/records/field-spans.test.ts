// SPDX-License-Identifier: Apache-2.0
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { MAX_DEPTH, numKeys } from '../../src/records/exact.ts';
import { fieldSpans } from '../../src/records/field-spans.ts';

const fieldsOf = (text: string): string[] | undefined => {
  const spans = fieldSpans(text);
  return spans?.starts.map((start, index) => text.slice(start, spans.ends[index]));
};

describe('fieldSpans', () => {
  test('gives the text of each field, and counts the keys of all objects', () => {
    const text = '{"id":"a","x":1.0,"m":{"k":[{"a":1},{"a":2}],"s":"}, \\"b\\":"},"e":[],"n":null}\r';
    assert.deepEqual(fieldsOf(text), [
      '"id":"a"',
      '"x":1.0',
      '"m":{"k":[{"a":1},{"a":2}],"s":"}, \\"b\\":"}',
      '"e":[]',
      '"n":null',
    ]);
    assert.equal(fieldSpans(text)!.numKeys, 9);
  });

  test('counts a repeated key, which the value has lost', () => {
    for (const text of ['{"a":1,"a":1}', '{"m":{"b":":","b":":"}}', '{"l":[{"c":0,"d":1,"c":0}]}'])
      assert.equal(fieldSpans(text)!.numKeys, numKeys(JSON.parse(text)) + 1, text);
  });

  const otherForms = [
    ' {"a":1}',
    '{"a": 1}',
    '{"a":1 }',
    '{"a":\t1}',
    '{"a":[1,\n2]}',
    '{"a":"\\u00e9"}',
    '{"a":"\\/"}',
    '{"b":1,"7":2}',
    '[1]',
    `{"a":${'['.repeat(MAX_DEPTH)}${']'.repeat(MAX_DEPTH)}}`,
  ];
  for (const text of otherForms)
    test(`gives nothing for a text that prints in another form: ${text.slice(0, 20)}`, () => {
      assert.equal(fieldSpans(text), undefined);
    });

  test('what JavaScript printed is found again, whatever its strings hold', () => {
    let state = 7;
    const next = (count: number) => {
      state = (Math.imul(state, 1103515245) + 12345) >>> 0;
      return (state >>> 8) % count;
    };
    const pieces = ['"', '\\', '{', '}', '[', ']', ':', ',', ' ', 'a', 'u', '/', '\n', '\u2028', '\u00e9', '\u{1f600}'];
    const string = () => Array.from({ length: next(6) }, () => pieces[next(pieces.length)]).join('');
    const value = (depth: number): unknown => {
      const kind = next(depth === 0 ? 3 : 5);
      if (kind === 0) return string();
      if (kind === 1) return next(2) === 0 ? null : next(100) / 8 - 6;
      if (kind === 2) return next(2) === 0;
      const members = Array.from({ length: next(4) }, () => value(depth - 1));
      return kind === 3 ? members : Object.fromEntries(members.map((member) => [`k${string()}`, member]));
    };
    let found = 0;
    for (let round = 0; round < 2000; round++) {
      const record = Object.fromEntries(Array.from({ length: 1 + next(4) }, () => [`f${string()}`, value(3)]));
      const text = JSON.stringify(record);
      const fields = fieldsOf(text);
      // A backslash before "u" or "/" may be an escaped one.
      if (fields === undefined) {
        assert.match(text, /\\[u/]/);
        continue;
      }
      found += 1;
      assert.deepEqual(
        fields,
        Object.entries(record).map(([name, member]) => `${JSON.stringify(name)}:${JSON.stringify(member)}`),
      );
      assert.equal(fieldSpans(text)!.numKeys, numKeys(record));
    }
    assert.ok(found > 1000, String(found));
  });
});
