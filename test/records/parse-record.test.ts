// SPDX-License-Identifier: Apache-2.0
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { formatRecord, parseRecord, verbatimFields } from '../../src/records/parse-record.ts';

const at = { source: 'in', line: 3 };
const whole = { id: 'q1', prompt: 'What is this?' };
const parse = (extra: object) => () => parseRecord({ ...whole, ...extra }, at);

describe('parseRecord', () => {
  test('returns the very object, unknown fields and all', () => {
    const value = { ...whole, images: ['a.png', 'data:image/png;base64,AA=='], anything: { 'at all': [1, null] } };
    assert.equal(parseRecord(value, at), value);
  });

  test('takes every form of prompt', () => {
    const prompts = [
      '',
      [],
      [{ role: 'user', content: 'hi' }],
      [{ role: 'assistant', content: null }],
      [{ role: 'user', content: [{ type: 'image' }, { type: 'text', text: 'hi' }] }],
    ];
    for (const prompt of prompts) assert.doesNotThrow(parse({ prompt }));
  });

  const refused: [extra: object, message: string][] = [
    [{ id: 4 }, 'id: expected a non-empty string, got number 4'],
    [{ prompt: undefined }, 'prompt: expected a string or an array of messages, got nothing'],
    [
      { prompt: [{ role: 'bot', content: '' }] },
      'prompt[0].role: expected "system", "user" or "assistant", got string "bot"',
    ],
    [
      { prompt: [{ role: 'user', content: [{ type: 'text' }] }] },
      'prompt[0].content[0].text: expected a string, got nothing',
    ],
    [{ images: 'a.png' }, 'images: expected an array of paths, got string "a.png"'],
    [{ images: ['a.png', 7] }, 'images[1]: expected a path or data: URI, got number 7'],
    [{ responses: [{ text: 'a' }, { text: null }] }, 'responses[1].text: expected a string, got null'],
    [{ responses: [{ text: 'a', logps: '-3' }] }, 'responses[0].logps: expected a number, got string "-3"'],
    [{ rejected: ['a', 1] }, 'rejected[1]: expected a string, got number 1'],
    [
      { rejected_images: [['a.png'], ['']] },
      'rejected_images[1][0]: expected a path or data: URI, got an empty string',
    ],
    [{ annotations: [{ guide: 'g', judge: 'j', run: 0, outcome: 'fine' }] }, 'annotations[0].outcome: expected "ok", '],
    [{ label: 'true' }, 'label: expected true or false, got string "true"'],
  ];
  for (const [extra, message] of refused)
    test(`refuses ${JSON.stringify(extra)}`, () => {
      assert.throws(
        parse(extra),
        (error: Error) => error.message.startsWith(`in:3: ${message}`) || assert.fail(error.message),
      );
    });

  test('a row that failed earlier is passed on whatever its fields are', () => {
    const failed = { id: 'q1', responses: 'none', error: { stage: 'sample', code: 'x', message: 'y' } };
    assert.equal(parseRecord(failed, at), failed);
  });
});

describe('numbers', () => {
  const roundTrip = (line: string, change: object = {}) => {
    const value = JSON.parse(line);
    return formatRecord({ ...value, ...change }, { text: line, record: value });
  };

  test('are written as they were read when JavaScript has another form for them', () => {
    const line =
      '{"id":"a","meta":{"v":[1.0,{"w":2.50}],"s":"1.0, \\"x\\\\"},"big":12345678901234567890,"e":1e5,"zero":-0,"tiny":0.0000001}';
    assert.equal(roundTrip(line), line);
    assert.equal(roundTrip(line, { chosen: 'x' }), `${line.slice(0, -1)},"chosen":"x"}`);
  });

  test('a field that a stage changed is written from its value', () => {
    assert.equal(roundTrip('{"a":1.0,"b":2.0}', { a: 3 }), '{"a":3,"b":2.0}');
    assert.equal(roundTrip('{"meta":{"v":1.0},"b":2.0}', { meta: { v: 5 } }), '{"meta":{"v":5},"b":2.0}');
  });

  test('lines that print unchanged need no stored text', () => {
    for (const line of ['{"a":-12.345678901234567,"t":"3e5 1.0,"}', '{"a":10,"b":[0.5,100]}', '{}'])
      assert.equal(verbatimFields(line, JSON.parse(line)), undefined);
  });

  test('a record with other fields first, fewer fields, or another order is written from its values', () => {
    const line = ' {"id":"a", "x":1.0,"y":[1.50]}\r';
    const value = JSON.parse(line);
    const format = (record: object) => formatRecord(record, { text: line, record: value });
    assert.equal(format({ ...value, z: undefined, w: { a: 1 } }), '{"id":"a", "x":1.0,"y":[1.50],"w":{"a":1}}');
    assert.equal(format({ ...value, id: 'a#1', group: 'a' }), '{"id":"a#1","x":1.0,"y":[1.50],"group":"a"}');
    assert.equal(format({ id: 'a', y: value.y }), '{"id":"a","y":[1.50]}');
    assert.equal(format({ x: 1, ...value }), '{"x":1.0,"id":"a","y":[1.50]}');
    assert.equal(format({ id: 'a' }), '{"id":"a"}');
  });

  test('a kept field is copied, a copy of a field keeps its numbers, and a changed field is printed', () => {
    const line = '{"id":"a","x":1.0,"y":[1.50,"\\n\\""],"z":{"k":1e5},"t":"b"}';
    const value = JSON.parse(line);
    const format = (record: object) => formatRecord(record, { text: line, record: value });
    assert.equal(
      format({ id: 'a', z: value.z, y: value.y, t: 'c' }),
      '{"id":"a","z":{"k":1e5},"y":[1.50,"\\n\\""],"t":"c"}',
    );
    assert.equal(
      format({ id: 'b', x: 2, y: [...value.y], z: undefined, w: [0.5] }),
      '{"id":"b","x":2,"y":[1.50,"\\n\\""],"w":[0.5]}',
    );
    assert.equal(format({ y: [1.5, '\n'], z: { k: 100000, l: 1 } }), '{"y":[1.5,"\\n"],"z":{"k":100000,"l":1}}');
  });

  test('a repeated key of a rewritten record is refused, wherever it is and however it is written', () => {
    for (const [text, message] of [
      ['{"id":"a","m":{"k":1,"k":1},"x":1}', 'm: expected each key once, got "k" twice'],
      ['{"id":"a","x":1,"m":[{"k":":"},{"k":0,"k":"}"}]}', 'm[1]: expected each key once, got "k" twice'],
      ['{"id":"a","x":1,"x":1}', 'record: expected each key once, got "x" twice'],
      ['{"id":"a","x":1, "\\u0078" : 1}', 'record: expected each key once, got "x" twice'],
    ] as const) {
      const value = JSON.parse(text);
      assert.throws(() => formatRecord({ ...value, x: 2 }, { text, record: value }), { message });
    }
  });

  test('another id takes the place of the first one in the text', () => {
    assert.equal(roundTrip('{"id":"a","x":1.0}', { id: 'a#"1', group: 'a' }), '{"id":"a#\\"1","x":1.0,"group":"a"}');
  });

  test('random records survive, numbers untouched', () => {
    let state = 12345;
    const next = (n: number) => {
      state = (Math.imul(state, 1103515245) + 12345) >>> 0;
      return (state >>> 8) % n;
    };
    const scalars = [
      '1.0',
      '-0',
      '1E+2',
      '3',
      '"\\"}"',
      'null',
      '0.10',
      '[]',
      '{}',
      '"[1.0,"',
      '1234567890123456789',
      '"\\\\"',
    ];
    const json = (depth: number): string => {
      const kind = depth === 0 ? 0 : next(3);
      if (kind === 0) return scalars[next(scalars.length)]!;
      const members = Array.from({ length: next(4) }, (_, i) => `${kind === 1 ? `"k${i}\\"":` : ''}${json(depth - 1)}`);
      return kind === 1 ? `{${members}}` : `[${members}]`;
    };
    for (let i = 0; i < 2000; i++) {
      const line = `{"id":"x","f":${json(3)},"g":${json(2)}}`;
      assert.equal(roundTrip(line), line);
    }
  });
});
