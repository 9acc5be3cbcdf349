// SPDX-License-Identifier: Apache-2.0
// Covers src/stages/import/target.ts, src/stages/import/dialogue-row.ts, src/stages/import/ms-swift.ts, src/stages/import/llama-factory.ts
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { importFailure, importOne } from '../../support/import-stage.ts';

const user = (content: unknown) => ({ role: 'user', content });
const assistant = (content: unknown) => ({ role: 'assistant', content });
const said = [user('<image>Which bird?'), assistant('A heron.')];
const images = ['birds/1.jpg'];
const learned = ({ chosen, rejected, rejected_images, response, label, reference }: Record<string, unknown>) => [
  chosen,
  rejected,
  rejected_images,
  response,
  label,
  reference,
];
const none = undefined;

test('ms-swift: the rejected answer as text, message, list, conversation or images', async () => {
  const base = { messages: said, images };
  const cases: [object, unknown[]][] = [
    [{ rejected_response: 'A duck.' }, ['A heron.', 'A duck.', none]],
    [{ rejected_response: assistant('A duck.') }, ['A heron.', 'A duck.', none]],
    [{ rejected_response: [assistant('A duck.')] }, ['A heron.', 'A duck.', none]],
    [{ rejected_response: ['A duck.', 'A crow.'] }, ['A heron.', ['A duck.', 'A crow.'], none]],
    [{ rejected_response: '' }, ['A heron.', '', none]],
    [{ rejected_messages: [said[0], assistant('A duck.')] }, ['A heron.', 'A duck.', none]],
    [{ rejected_messages: [said[0], assistant('A duck.')], rejected_images: images }, ['A heron.', 'A duck.', none]],
    [{ rejected_response: 'A duck.', rejected_images: ['b/2.jpg'] }, ['A heron.', 'A duck.', ['b/2.jpg']]],
    [{ rejected_images: 'b/2.jpg' }, ['A heron.', none, ['b/2.jpg']]],
  ];
  for (const [more, wanted] of cases) {
    const record = await importOne('ms-swift', { ...base, ...more, label: null });
    assert.deepEqual(learned(record), [...wanted, none, none, none], JSON.stringify(more));
    assert.equal(record.meta, undefined);
  }
});

test('labels are read as tables write them, and are never lost', async () => {
  const cases: [unknown, boolean][] = [
    [true, true],
    [1, true],
    ['True', true],
    ['1', true],
    [false, false],
    [0, false],
    ['False', false],
    ['false', false],
  ];
  for (const format of ['ms-swift', 'sharegpt'])
    for (const [label, wanted] of cases) {
      const record = await importOne(format, { messages: said, images, label });
      assert.deepEqual(learned(record), [none, none, none, 'A heron.', wanted, none]);
    }
  for (const [label, got] of [
    [0.5, 'number 0.5'],
    ['good', 'string "good"'],
    [[1], 'an array'],
  ])
    assert.equal(
      await importFailure('ms-swift', { messages: said, images, label }),
      `f:1: label: expected true or false (or 1 or 0), got ${got}`,
    );
  assert.equal(
    await importFailure('ms-swift', { messages: said, images, label: true, rejected_response: 'A duck.' }),
    'f:1: label: expected nothing beside rejected_response, got boolean true',
  );
});

test('ms-swift: query and response with their history, and pairs {human, assistant}', async () => {
  const row = {
    query: '<image>Which?',
    response: 'A heron.',
    history: [['Hello', 'Hi.']],
    system: 'Be brief.',
    images,
  };
  const wanted = [{ role: 'system', content: 'Be brief.' }, user('Hello'), assistant('Hi.'), user('<image>Which?')];
  const pair = await importOne('ms-swift', { ...row, rejected_response: 'A duck.' });
  assert.deepEqual([pair.prompt, pair.chosen, pair.rejected], [wanted, 'A heron.', 'A duck.']);
  const plain = await importOne('ms-swift', row);
  assert.deepEqual([plain.prompt, plain.response, plain.reference], [wanted, 'A heron.', undefined]);
  const turns = [
    { human: 'Hello', assistant: 'Hi.' },
    { human: '<image>Which?', assistant: 'A heron.' },
  ];
  const talk = await importOne('ms-swift', { system: 'Be brief.', conversation: turns, images });
  assert.deepEqual([talk.prompt, talk.response], [wanted, 'A heron.']);
  assert.equal(
    await importFailure('ms-swift', { ...row, history: [['Hello']] }),
    'f:1: history[0]: expected pairs [question, response], got an array',
  );
});

test('alpaca and llama-factory: instruction and input, plain, ranked, labelled', async () => {
  for (const format of ['alpaca', 'llama-factory']) {
    const row = { instruction: 'Sum up.', input: 'Rain all day.' };
    const plain = await importOne(format, { ...row, output: 'Rain.' });
    assert.deepEqual([plain.prompt, plain.response], ['Sum up.\nRain all day.', 'Rain.']);
    const ranked = await importOne(format, { ...row, input: '', output: '', chosen: 'Wet.', rejected: 'Dry.' });
    assert.deepEqual([ranked.prompt, ...learned(ranked)], ['Sum up.', 'Wet.', 'Dry.', none, none, none, none]);
    const known = await importOne(format, { ...row, output: 'Rain.', chosen: 'Wet.', rejected: 'Dry.' });
    assert.deepEqual(learned(known), ['Wet.', 'Dry.', none, none, none, 'Rain.']);
    const older = await importOne(format, { ...row, output: ['Wet.', 'Dry.'] });
    assert.deepEqual(learned(older), ['Wet.', 'Dry.', none, none, none, none]);
    const kto = await importOne(format, { ...row, output: 'Wet.', kto_tag: 'False' });
    assert.deepEqual(learned(kto), [none, none, none, 'Wet.', false, none]);
    assert.equal(
      await importFailure(format, { ...row, chosen: 'Wet.' }),
      'f:1: rejected: expected a response (chosen and rejected), got nothing',
    );
  }
  const named = await importOne('llama-factory', { prompt: 'Sum up.', query: 'Rain.', response: 'Wet.', system: 's' });
  assert.deepEqual(named.prompt, [{ role: 'system', content: 's' }, user('Sum up.\nRain.')]);
  assert.equal(
    await importFailure('llama-factory', { prompt: 'a', instruction: 'b', output: 'c' }),
    'f:1: prompt: expected nothing beside instruction, which means the same, got both',
  );
});

test('half a pair, two systems, answers out of place and images in answers are errors', async () => {
  const talk = [
    { from: 'human', value: 'q' },
    { from: 'gpt', value: 'a' },
  ];
  const cases: [string, object, string][] = [
    [
      'sharegpt',
      { conversations: talk, rejected: 'r' },
      'chosen: expected a response (chosen and rejected), got nothing',
    ],
    [
      'sharegpt',
      { system: 'S', conversations: [{ from: 'system', value: 'T' }, ...talk] },
      'system: expected one system text (a turn says "T"), got string "S"',
    ],
    [
      'ms-swift',
      { messages: said, images, rejected_messages: [user('Else?'), assistant('r')] },
      'rejected_messages[0]: expected what messages say there (only the last response may differ), got another',
    ],
    [
      'ms-swift',
      { messages: said, images, rejected_messages: [said[0], assistant('r')], rejected_images: ['x.jpg'] },
      'rejected_images: expected the same as images (a rejected response about other images is no pair), got others',
    ],
    [
      'ms-swift',
      { messages: [user('q'), assistant('<image>')], images, rejected_response: 'r' },
      'messages: expected a response without <image> (responses hold no images), got "<image>"',
    ],
    [
      'ms-swift',
      { messages: said, images, rejected_response: 'like <img>x.png</img>' },
      'rejected_response: expected a response without <img>path</img> (responses hold no images), got "like <img>x.png</img>"',
    ],
    [
      'ms-swift',
      { messages: [...said.slice(0, 1), { ...said[1], loss: false }], images },
      'messages[1].loss: expected nothing but role and content in a message, got boolean false',
    ],
    [
      'ms-swift',
      { messages: said, images, objects: { ref: ['a'], bbox: [[1, 2]] } },
      'objects: expected none (grounding is not supported), got some',
    ],
  ];
  for (const [format, item, message] of cases) assert.equal(await importFailure(format, item), `f:1: ${message}`);
  const same = await importOne('sharegpt', { system: 'S', conversations: [{ from: 'system', value: 'S' }, ...talk] });
  assert.deepEqual((same.prompt as object[])[0], { role: 'system', content: 'S' });
});
