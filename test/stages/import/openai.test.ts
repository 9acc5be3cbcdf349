// SPDX-License-Identifier: Apache-2.0
// Covers src/stages/import/openai.ts, src/stages/import/messages.ts, src/stages/import/trl.ts
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { importFailure, importOne } from '../../support/import-stage.ts';

const user = (content: unknown) => ({ role: 'user', content });
const assistant = (content: unknown) => ({ role: 'assistant', content });
const asked = [{ type: 'text', text: 'Which bird?' }, { type: 'image' }];

test('image parts in every spelling give images in the order of their slots', async () => {
  const parts: object[] = [
    { type: 'image_url', image_url: { url: 'p/a.png', detail: 'low' } },
    { type: 'image_url', image_url: 'p/a.png' },
    { type: 'input_image', image_url: 'p/a.png' },
    { type: 'image', image: 'p/a.png' },
    { type: 'image', path: 'p/a.png', text: null },
    { type: 'image', url: 'p/a.png' },
    { type: 'image', image: { path: 'p/a.png', bytes: null } },
  ];
  for (const format of ['openai', 'trl', 'sharegpt', 'ms-swift'])
    for (const part of parts) {
      const messages = [user([{ type: 'text', text: 'Which bird?' }, part]), assistant('A heron.')];
      const record = await importOne(format, { messages });
      assert.deepEqual(record.images, ['p/a.png']);
      if (format === 'openai' || format === 'trl') assert.deepEqual(record.prompt, [user(asked)]);
      else assert.equal(record.prompt, 'Which bird?<image>');
      assert.equal(record.source, `${format}/p`);
    }
});

test('openai: preference rows, batch lines, and marks that are text', async () => {
  const pair = await importOne('openai', {
    input: {
      messages: [user([{ type: 'image_url', image_url: { url: 'a.png' } }])],
      tools: [],
      parallel_tool_calls: true,
    },
    preferred_output: [assistant('A heron.')],
    non_preferred_output: [assistant('A duck.')],
  });
  assert.deepEqual(
    [pair.images, pair.chosen, pair.rejected, pair.meta],
    [['a.png'], 'A heron.', 'A duck.', { tools: [] }],
  );
  const body = { model: 'm', messages: [{ role: 'developer', content: 's' }, user('Say <image>')] };
  const batch = await importOne('openai', { custom_id: 'c1', method: 'POST', url: '/v1/chat/completions', body });
  assert.deepEqual(batch, {
    id: 'c1',
    prompt: [{ role: 'system', content: 's' }, user([{ type: 'text', text: 'Say <image>' }])],
    source: 'openai/text',
    meta: { method: 'POST', url: '/v1/chat/completions', model: 'm' },
  });
});

test('parts, members and images that cannot be read are errors at their place', async () => {
  const cases: [string, object, string][] = [
    [
      'openai',
      { messages: [user([{ type: 'input_audio' }])] },
      'messages[0].content[0].type: expected image, image_url or text, got string "input_audio"',
    ],
    [
      'openai',
      { messages: [user([{ type: 'image_url' }])] },
      'messages[0].content[0].image_url: expected an image, got nothing',
    ],
    [
      'openai',
      { messages: [user('q'), { ...assistant(''), tool_calls: [{ id: 'x' }] }] },
      'messages[1].tool_calls: expected nothing but role and content in a message, got an array',
    ],
    [
      'openai',
      { messages: [user([{ type: 'image' }, { type: 'image', image: 'a.png' }])] },
      'messages[0].content: expected a file in every image part, or in none, got 1 in 2',
    ],
    [
      'trl',
      { images: ['b.png'], messages: [user([{ type: 'image', image: 'a.png' }])] },
      'images: expected images here or in the messages, got 1 here and 1 in messages',
    ],
    [
      'trl',
      { prompt: [user('q')], chosen: [assistant([{ type: 'image', image: 'a.png' }])], rejected: 'r' },
      'chosen[0].content: expected text alone in a response, got an image part',
    ],
    [
      'trl',
      {
        images: ['a', 'b'],
        prompt: [
          user([
            { type: 'image', index: 1 },
            { type: 'image', index: 0 },
          ]),
        ],
      },
      'prompt[0].content[0].index: expected 0, its place, got number 1',
    ],
    [
      'ms-swift',
      { messages: [user([{ type: 'image', image: 'a.png', max_pixels: 9 }])] },
      'messages[0].content[0].max_pixels: expected nothing but type and a text or an image, got number 9',
    ],
    [
      'trl',
      { image: 'a', messages: [user([{ type: 'image', text: 'a cat' }])] },
      'messages[0].content[0].text: expected nothing in a part of type image, got string "a cat"',
    ],
    [
      'trl',
      { messages: [user([{ type: 'text', text: 'q', path: 'a.png' }])] },
      'messages[0].content[0].path: expected nothing in a part of type text, got string "a.png"',
    ],
    ['trl', { messages: [user([{ type: 'image' }])] }, 'images: expected 1 image for 1 <image> mark, got none'],
  ];
  for (const [format, item, message] of cases) assert.equal(await importFailure(format, item), `f:1: ${message}`);
});

test('trl: prompts beside conversations that repeat them, question for prompt, one JSON column', async () => {
  const talk = (answer: string) => [user('Which?'), assistant(answer)];
  const row = { chosen: talk('A heron.'), rejected: talk('A duck.') };
  const wanted = ['Which?', 'A heron.', 'A duck.'];
  const read = async (item: object) => {
    const { prompt, chosen, rejected } = await importOne('trl', item);
    return [prompt, chosen, rejected];
  };
  assert.deepEqual(await read({ prompt: 'Which?', ...row }), wanted);
  assert.deepEqual(await read({ prompt: [user('Which?')], ...row }), wanted);
  assert.deepEqual(await read({ question: 'Which?', chosen: 'A heron.', rejected: 'A duck.' }), wanted);
  const text = JSON.stringify({ question: 'Which?', chosen: 'A heron.', rejected: 'A duck.' });
  assert.deepEqual(await read({ ds_name: 'v', text, idx: 3 }), wanted);
  assert.deepEqual(
    await read({ question: 'Which?', chosen: assistant('A heron.'), rejected: [assistant('A duck.')] }),
    wanted,
  );
  assert.deepEqual(await read({ ...row, messages: row.chosen }), wanted);
  assert.match(
    (await importFailure('trl', { ...row, messages: row.rejected }))!,
    /^f:1: messages: .* a conversation that/,
  );
  const system = { role: 'system', content: 's' };
  const orca = { system: 's', question: 'Which?', chosen: 'A heron.', rejected: 'A duck.' };
  assert.deepEqual((await importOne('trl', orca)).prompt, [system, user('Which?')]);
  assert.equal(
    await importFailure('trl', {
      ...orca,
      question: undefined,
      prompt: [{ role: 'system', content: 't' }, user('Which?')],
    }),
    'f:1: system: expected what the system message says, got string "s"',
  );
  const scored = await importOne('trl', { ...row, score_chosen: 8.5, score_rejected: 2 });
  assert.deepEqual([scored.chosen_score, scored.rejected_score, scored.meta], [8.5, 2, undefined]);
  assert.equal(
    await importFailure('trl', { prompt: 'Else?', ...row }),
    'f:1: prompt: expected what chosen and rejected begin with, got string "Else?"',
  );
  assert.equal(
    await importFailure('trl', { prompt: 'q', chosen: 'c' }),
    'f:1: rejected: expected chosen and rejected, got nothing',
  );
  assert.match(
    (await importFailure('trl', { messages: talk('a'), label: true }))!,
    /^f:1: label: .* a preference that would be lost/,
  );
});
