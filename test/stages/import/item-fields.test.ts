// SPDX-License-Identifier: Apache-2.0
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { carries } from '../../../src/stages/import/item-fields.ts';
import { importFailure, importItems, importOne } from '../../support/import-stage.ts';

test('columns that carry what a record is made of, by name or by value', () => {
  const carriers: [string, unknown, string][] = [
    ['rejectedAnswers', ['x'], 'a preference'],
    ['bad_response', 'x', 'a preference'],
    ['preference', 1, 'a preference'],
    ['is_chosen', true, 'a preference'],
    ['rejected', '', 'a preference'],
    ['system_prompt', 'Be brief.', 'a text of the prompt'],
    ['tools', '[{}]', 'a text of the prompt'],
    ['choices', ['a', 'b'], 'a text of the prompt'],
    ['photo', 'x', 'an image'],
    ['cover', 'covers/1.JPG', 'an image'],
    ['scan', [{ bytes: '/9j/', path: null }], 'an image'],
    ['blob', 'data:image/png;base64,AA', 'an image'],
    ['clip', 'x', 'a video'],
    ['material', ['a.mp4'], 'a video'],
    ['spoken', { path: 'a.wav', sampling_rate: 16000 }, 'audio'],
    ['talk', [{ role: 'user', content: 'q' }], 'a conversation'],
  ];
  for (const [name, value, kind] of carriers) assert.equal(carries(name, value), kind, name);
  const facts: [string, unknown][] = [
    ['prompt_id', 'p7'],
    ['chosen_score', 3.5],
    ['score_rejected', 1],
    ['response_length', 12],
    ['question_type', 'count'],
    ['num_images', 2],
    ['image_id', 17],
    ['dataset', 'vqa'],
    ['chosen_model', 'm'],
    ['annotator', 'anna'],
    ['videos', []],
    ['tools', ''],
    ['objects', { ref: [], bbox: [] }],
    ['rejected', null],
  ];
  for (const [name, value] of facts) assert.equal(carries(name, value), undefined, name);
});

test('such a column is an error that names it; other columns, and members of meta, go to meta', async () => {
  const row = { id: 'a', image: 'x/1.png', conversations: [{ from: 'human', value: 'q' }] };
  const formats: [string, object][] = [
    ['llava', row],
    ['sharegpt', row],
    ['llama-factory', row],
    ['ms-swift', row],
    ['trl', { prompt: 'q', image: 'x/1.png' }],
    ['lrv', { image_id: 1, question: 'q', answer: 'a' }],
    ['seva', { image_id: '1.png', question: 'q', chosen: 'a', reject: 'b' }],
    ['scigraphqa', { image_file: '1.png', q_a_pairs: [['q', 'a']] }],
  ];
  for (const [format, item] of formats) {
    assert.match(
      (await importFailure(format, { ...item, mask_image: 'x/2.png' }))!,
      /^f:1: mask_image: expected a column .* got an image that would be lost \(string "x\/2.png"\)/,
    );
    assert.match(
      (await importFailure(format, { ...item, worse: 'no' }))!,
      /^f:1: worse: .* a preference that would be lost/,
    );
    assert.match(
      (await importFailure(format, { ...item, videos: ['a.mp4'] }))!,
      /^f:1: videos: expected no video and no audio/,
    );
    const kept = await importOne(format, { ...item, ds_name: 'n', meta: { worse: 'no' } });
    assert.deepEqual(kept.meta, { ds_name: 'n', worse: 'no' });
  }
  const twice = await importOne('llava', { ...row, image_path: 'x/1.png' });
  assert.deepEqual(twice.meta, { image_path: 'x/1.png' });
  assert.match(
    (await importFailure('llava', { ...row, image_path: 'x/2.png' }))!,
    /^f:1: image_path: .* an image that/,
  );
  const { errors } = await importItems('helpsteer', [
    {
      prompt: 'p',
      response: 'r',
      helpfulness: 1,
      correctness: 1,
      coherence: 1,
      complexity: 1,
      verbosity: 1,
      system: 's',
    },
  ]);
  assert.match(errors[0]!, /^f:1: system: /);
});
