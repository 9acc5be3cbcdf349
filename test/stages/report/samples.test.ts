// SPDX-License-Identifier: Apache-2.0
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ImageList } from '../../../src/stages/report/images.ts';
import { SampleSection } from '../../../src/stages/report/samples.ts';

const row = (step: number, response: string, more: object = {}) => ({
  step,
  id: 'q',
  prompt: 'What?',
  response,
  ...more,
});

test('responses to one prompt over steps and runs: unchanged and repeated ones appear once', () => {
  const images = new ImageList();
  const samples = new SampleSection(images);
  const rows = [row(0, 'a cat', { image: 'c.png' }), row(20, 'a dog'), row(10, 'a cat'), row(20, 'a dog')];
  for (const one of rows) assert.ok(samples.take('a', one));
  samples.take('b', row(0, 'a cow', { image: 'c.png' }));
  samples.take('b', row(0, 'a hen', { prompt: 'Who?' }));
  assert.deepEqual(samples.data(), [
    {
      ...{ id: 'q', prompt: 'What?', images: [0] },
      runs: [
        {
          run: 'a',
          answers: [
            { from: 0, to: 10, text: 'a cat' },
            { from: 20, to: 20, text: 'a dog' },
          ],
          numLeftOut: 0,
        },
        { run: 'b', answers: [{ from: 0, to: 0, text: 'a cow' }], numLeftOut: 0 },
      ],
    },
    {
      id: 'q',
      prompt: 'Who?',
      images: [],
      runs: [{ run: 'b', answers: [{ from: 0, to: 0, text: 'a hen' }], numLeftOut: 0 }],
    },
  ]);
  assert.deepEqual(
    images.all().map(({ source }) => source),
    ['c.png'],
  );
});

test('rows of other kinds are not taken; of very many prompts and answers the rest is counted', () => {
  const samples = new SampleSection(new ImageList());
  for (const other of [
    { id: 'q', prompt: 'p', response: 'r' },
    { step: 1, loss: 1 },
    { step: 1, id: 'q' },
  ])
    assert.equal(samples.take('a', other), false);
  for (let step = 0; step < 100; step++) samples.take('a', row(step, `answer ${step}`));
  for (let id = 0; id < 300; id++) for (const step of [0, 1]) samples.take('a', row(step, 'x', { id: String(id) }));
  const [first] = samples.data()[0]!.runs;
  assert.deepEqual([first!.answers.length, first!.numLeftOut], [40, 60]);
  assert.deepEqual([first!.answers[0]!.from, first!.answers.at(-1)!.from], [0, 99]);
  assert.deepEqual([samples.data().length, samples.numLeftOut], [200, 101]);
});
