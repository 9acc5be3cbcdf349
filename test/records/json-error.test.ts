// SPDX-License-Identifier: Apache-2.0
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { describeJsonError } from '../../src/records/json-error.ts';

const cases: [text: string, complaint: string][] = [
  ['{"a":1,}', 'unexpected "}" at column 8'],
  ['{"a" 1}', 'unexpected "1" at column 6'],
  ['{a:1}', 'unexpected "a" at column 2'],
  ['[1 2]', 'unexpected "2" at column 4'],
  ['[1,]', 'unexpected "]" at column 4'],
  ['[1}', 'unexpected "}" at column 3'],
  ['{} x', 'unexpected "x" at column 4'],
  ['}', 'unexpected "}" at column 1'],
  ['{"a":01}', 'unexpected "1" at column 7'],
  ['{"a":+1}', 'unexpected "+" at column 6'],
  ['{"a":"\t"}', 'unexpected "\\t" at column 7'],
  [String.raw`{"a":"\x"}`, 'unexpected "x" at column 8'],
  [String.raw`{"a":"\u12g4"}`, 'unexpected "g" at column 11'],
  ['{"a":1.e5}', 'unexpected "e" at column 8'],
  ['{"a":tru}', 'unexpected "}" at column 9'],
  ['{"a":\u{1f600}}', 'unexpected "\u{1f600}" at column 6'],
  ['{"a":', 'the line ends at column 5 before the value does'],
  ['{"a":"b', 'the line ends at column 7 before the value does'],
  ['{"a":tr', 'the line ends at column 7 before the value does'],
  ['[[', 'the line ends at column 2 before the value does'],
  ['{"a":-', 'the line ends at column 6 before the value does'],
];

for (const [text, complaint] of cases)
  test(text, () => {
    assert.throws(() => JSON.parse(text));
    assert.equal(describeJsonError(text), complaint);
  });

test('every cut and every change of one character that JSON.parse refuses has a place inside the line', () => {
  const whole = String.raw`{"a":[1.5e-3,"x\n\u00e9",{"b":null}],"c":true,"d":{}}`;
  for (let at = 0; at < whole.length; at++)
    for (const text of [
      whole.slice(0, at),
      ...['"', '{', ']', ',', '0', '\\', '\u0001'].map((c) => whole.slice(0, at) + c + whole.slice(at + 1)),
    ]) {
      try {
        JSON.parse(text);
      } catch {
        const column = Number(/column (\d+)/.exec(describeJsonError(text))![1]);
        assert.ok(column >= 0 && column <= text.length, text);
        // What stands before the place is the beginning of some JSON text: a longer cut of it is never blamed earlier.
        assert.match(describeJsonError(text.slice(0, Math.max(0, column - 1))), /before the value does/);
      }
    }
});
