// SPDX-License-Identifier: Apache-2.0
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { countImageMarks, placeImages, promptMessages } from '../../src/records/prompt.ts';
import type { Message } from '../../src/records/record.ts';

const image = { type: 'image' } as const;
const text = (words: string) => ({ type: 'text', text: words }) as const;

test('a string is one user turn', () => {
  assert.deepEqual(promptMessages('hi'), [{ role: 'user', content: 'hi' }]);
});

test('unmarked images come first in the first user turn', () => {
  const messages: Message[] = [
    { role: 'system', content: 'Be brief.' },
    { role: 'user', content: 'Compare.' },
    { role: 'assistant', content: null },
    { role: 'user', content: 'Why?' },
  ];
  assert.deepEqual(placeImages(messages, 2), [
    { role: 'system', content: [text('Be brief.')] },
    { role: 'user', content: [image, image, text('Compare.')] },
    { role: 'assistant', content: null },
    { role: 'user', content: [text('Why?')] },
  ]);
  assert.equal(messages[1]!.content, 'Compare.');
});

test('marks in strings and image parts are slots at any position', () => {
  assert.equal(countImageMarks('<image>\nWhat is in <image>?'), 2);
  assert.deepEqual(placeImages('<image>\nWhat is in <image>?', 2), [
    { role: 'user', content: [image, text('\nWhat is in '), image, text('?')] },
  ]);
  const parts: Message[] = [{ role: 'user', content: [text('a'), image] }];
  assert.equal(countImageMarks(parts), 1);
  assert.deepEqual(placeImages(parts, 1), parts);
});

test('no images, no slots', () => {
  assert.deepEqual(placeImages('hi', 0), [{ role: 'user', content: [text('hi')] }]);
});
