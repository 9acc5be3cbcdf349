// SPDX-License-Identifier: Apache-2.0
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isArticle } from '../../src/text/article.ts';

test('a letter is a word where small letters follow, unless they join it to what comes', () => {
  const read = (text: string) => isArticle(text, /\b[A-Z]\b/.exec(text)!);
  for (const text of ['A cat', 'I think', 'It is A red hen', 'I would say']) assert.equal(read(text), true, text);
  for (const text of ['A', 'A.', 'A because', 'A: a cat', 'B cat', 'A Cat', 'A or so'])
    assert.equal(read(text), false, text);
});
