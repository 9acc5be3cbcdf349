// SPDX-License-Identifier: Apache-2.0
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { importFailure, importItems, importOne } from '../../support/import-stage.ts';

const talk = (question: string, answer = 'a') => [
  { from: 'human', value: question },
  { from: 'gpt', value: answer },
];

test('different numbers of marks and images are an error with both numbers', async () => {
  const cases: [string, object, string][] = [
    ['sharegpt', { conversations: talk('<image>q') }, 'images: expected 1 image for 1 <image> mark, got none'],
    [
      'sharegpt',
      { conversations: talk('<image><image>q'), images: [] },
      'images: expected 2 images for 2 <image> marks, got none',
    ],
    ['trl', { prompt: '<image>q' }, 'images: expected 1 image for 1 <image> mark, got none'],
    [
      'sharegpt',
      { conversations: talk('<image>q'), images: ['a', 'b'] },
      'prompt: expected 2 <image> slots or none, got 1',
    ],
    [
      'trl',
      { image: 'a.png', prompt: [{ role: 'system', content: 's' }] },
      'prompt: expected a user turn for 1 image, got none',
    ],
    [
      'trl',
      {
        image: 'a.png',
        prompt: [
          { role: 'system', content: '<image>' },
          { role: 'user', content: 'q' },
        ],
      },
      'prompt[0]: expected images in user turns only, got one in a turn of system',
    ],
    [
      'llava',
      { image: 'a.png', conversations: talk('q', 'see <image>') },
      'turn 1: expected a response without <image> (responses hold no images), got "see <image>"',
    ],
    [
      'sharegpt',
      { conversations: talk('<video>q') },
      'turn 1: expected text without <video> and <audio> (images only), got "<video>q"',
    ],
    [
      'ms-swift',
      { query: 'q', response: 'hear <audio>' },
      'item: expected text without <video> and <audio> (images only), got "hear <audio>"',
    ],
  ];
  for (const [format, item, message] of cases) assert.equal(await importFailure(format, item), `f:1: ${message}`);
});

test('in text rows of LLaVA a mark is text, and counted', async () => {
  const { records, counts } = await importItems('llava', [
    { conversations: talk('What does <image> mean?', '<image> is a mark.') },
    { conversations: talk('Hi') },
  ]);
  assert.deepEqual(records[0]!.prompt, [
    { role: 'user', content: [{ type: 'text', text: 'What does <image> mean?' }] },
  ]);
  assert.equal(records[0]!.reference, '<image> is a mark.');
  assert.equal(counts.markTexts, 1);
});

test('in LLaVA a video mark before the question is refused, a text that speaks of one is not', async () => {
  assert.match(
    (await importFailure('llava', { conversations: talk('<video>\nWhat moves?') }))!,
    /^f:1: turn 1: expected text without <video>/,
  );
  assert.match(
    (await importFailure('llava', { conversations: talk('What moves?\n<video>') }))!,
    /^f:1: turn 1: expected text without <video>/,
  );
  assert.equal(
    (await importOne('llava', { conversations: talk('Close the <video> tag.') })).prompt,
    'Close the <video> tag.',
  );
});

test("Qwen's tags are images, in questions", async () => {
  const row = { conversations: talk('Picture 1: <img>a/1.png</img>\nPicture 2: <img>a/2.png</img>\nSame?') };
  const record = await importOne('sharegpt', row);
  assert.deepEqual(record.images, ['a/1.png', 'a/2.png']);
  assert.equal(record.prompt, 'Picture 1: <image>\nPicture 2: <image>\nSame?');
  assert.equal(record.source, 'sharegpt/a');
  assert.equal(
    await importFailure('sharegpt', { ...row, images: ['b.png'] }),
    'f:1: images: expected images here or as <img>path</img>, got both',
  );
  assert.match(
    (await importFailure('sharegpt', { conversations: talk('q', '<img>a.png</img>') }))!,
    /responses hold no images/,
  );
});

test('lists of images that a table holds as text', async () => {
  const llava = { image: "['a.png', 'b.png']", conversations: talk('<image><image>q') };
  assert.deepEqual((await importOne('llava', llava)).images, ['a.png', 'b.png']);
  for (const images of ["['a/1.png', 'a/2.png']", '["a/1.png", "a/2.png"]'])
    assert.deepEqual((await importOne('ms-swift', { query: '<image><image>q', response: 'a', images })).images, [
      'a/1.png',
      'a/2.png',
    ]);
  assert.match(
    (await importFailure('ms-swift', { query: '<image>q', response: 'a', images: '[a/1.png]' }))!,
    /^f:1: images: expected an image, or a list of images, got string "\[a/,
  );
});

test('mmbench: lists of images, and options beyond those that are asked', async () => {
  const png = 'iVBORw0KGgoAAAANSUhEUg==';
  const table = (row: string) => `index\tquestion\tA\tB\tE\tanswer\timage\n${row}\n`;
  const { records } = await importItems('mmbench', table(`1\tSame?\tyes\tno\t\tB\t['${png}', '/9j/4AAQSkZJRgABAQ==']`));
  assert.deepEqual(records[0]!.images, [`data:image/png;base64,${png}`, 'data:image/jpeg;base64,/9j/4AAQSkZJRgABAQ==']);
  const failures = [
    [`1\tSame?\tyes\tno\tboth\tE\t${png}`, 'f:2: E: expected options A to D, got string "both"'],
    [`1\tSame?\tyes\tno\t\tC\t${png}`, 'f:2: answer: expected the letter of one of 2 options, got string "C"'],
    [`1\tSame?\tyes\tno\t\tA\t["${png}", "pics/1.png is here"]`, 'f:2: image[1]: expected an image in base64'],
  ];
  for (const [row, message] of failures) {
    const { errors } = await importItems('mmbench', table(row!));
    assert.ok(errors[0]!.startsWith(message!), errors[0]);
  }
});
