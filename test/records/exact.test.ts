// SPDX-License-Identifier: Apache-2.0
import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  MAX_DEPTH,
  numberText,
  parseExact,
  repeatedKey,
  stringifyExact,
  withNumbersOf,
} from '../../src/records/exact.ts';

const again = (text: string) => stringifyExact(parseExact(text));

test('numbers keep their text at every depth', () => {
  const texts = [
    '{"id":675127116845989801,"b":[1.0,[-0,1e5],{"x":0.10}],"s":"1.0 \\" 2"}',
    '[12345678901234567890123456789,1E+2,3]',
    '{"__proto__":1.0,"constructor":2.50,"k\\"ey":5e-1}',
    '{"a":[],"b":{},"c":[{"d":1.0}],"e":2}',
  ];
  for (const text of texts) assert.equal(again(text), text);
  const value = parseExact('{"id":675127116845989801,"n":1.0}') as Record<string, unknown>;
  assert.equal(numberText(value, 'id'), '675127116845989801');
  assert.equal(stringifyExact(withNumbersOf(value, { n: value.n, other: 1 })), '{"n":1.0,"other":1}');
  assert.equal(stringifyExact({ ...value }), '{"id":675127116845989800,"n":1}');
});

test('a changed number is written from its value', () => {
  const value = parseExact('{"a":1.0,"b":2.0}') as Record<string, unknown>;
  value.a = 3;
  assert.equal(stringifyExact(value), '{"a":3,"b":2.0}');
});

test('a repeated key and too deep nesting are refused with their place', () => {
  assert.throws(
    () => parseExact('{"a":1,"b":{"c":1,"d":2,"c":3}}'),
    /^Error: b: expected each key once, got "c" twice$/,
  );
  assert.throws(() => parseExact('[{"a":1},{"a":1,"\\u0061":2}]'), /\[1\]: expected each key once, got "a" twice/);
  for (const text of [
    '{"x":{"a":1},"x":null}',
    '{"x":[1.0,2],"x":3}',
    '{"x":{"a":1,"b":2},"x":{}}',
    '{"x":1,"x":{"y":[1.0]}}',
  ])
    assert.throws(() => parseExact(text), /^Error: : expected each key once, got "x" twice$/);
  const deep = (levels: number) => `{"x":${'['.repeat(levels)}${']'.repeat(levels)}}`;
  assert.equal(again(deep(MAX_DEPTH - 1)), deep(MAX_DEPTH - 1));
  assert.throws(() => parseExact(deep(MAX_DEPTH)), /x: expected values nested at most 1000 levels deep/);
  assert.throws(() => parseExact(deep(100_000)), /1000 levels/);
});

test('a repeated key is found beside strings with quotes and colons, and blanks before colons', () => {
  const problem = (text: string) => repeatedKey(JSON.parse(text), text);
  for (const text of [
    '{"a":"x\\":y","b":[{"c":1},{"c":2}]}',
    '{"a" :1,"b"\n: {"a":[]}}',
    '"a\\":b"',
    '{"__proto__":1}',
  ])
    assert.equal(problem(text), undefined, text);
  const once = (path: string, key: string) => ({ path, expected: 'each key once', got: `"${key}" twice` });
  assert.deepEqual(problem('{"a" :1,"a":2}'), once('', 'a'));
  assert.deepEqual(problem(`{"a"${' '.repeat(70)}:1,"a"${' '.repeat(70)}:2}`), once('', 'a'));
  assert.deepEqual(problem('{"b":[{"x":1},{"y":2}],"b":1}'), once('', 'b'));
  assert.deepEqual(problem('{"a":"x\\":y","b":[{"c":1,"c":2}]}'), once('b[0]', 'c'));
});
