// SPDX-License-Identifier: Apache-2.0
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { generatedSpans, spokenTurns, transcript } from '../../src/records/dialogue.ts';
import { placeImages } from '../../src/records/prompt.ts';
import type { VprefRecord } from '../../src/records/record.ts';

const spoken = (prompt: VprefRecord['prompt'], numImages: number) => spokenTurns(placeImages(prompt, numImages));

test('images that come first need no number; any other does, and then all have one', () => {
  assert.deepEqual(spoken('<image>\nWhat?', 1), { turns: [{ role: 'user', content: 'What?' }], hasMarks: false });
  assert.equal(spoken('What?', 2).turns[0]!.content, 'What?');
  assert.equal(spoken('Is <image> it?', 1).turns[0]!.content, 'Is (image 1) it?');
  const later: VprefRecord['prompt'] = [
    { role: 'user', content: '<image>One?' },
    { role: 'assistant', content: 'Yes.' },
    { role: 'user', content: [{ type: 'image' }, { type: 'text', text: 'Two?' }] },
  ];
  const { turns, hasMarks } = spoken(later, 2);
  assert.equal(hasMarks, true);
  assert.equal(transcript(turns.map((turn) => turn!)), 'User: (image 1)One?\n\nAssistant: Yes.\n\nUser: (image 2)Two?');
});

test('spans end at the generated turns', () => {
  const cut = (turns: (string | null)[]) => generatedSpans(turns, (turn) => turn === null);
  assert.deepEqual(cut(['a', null, 'b', 'c', null]), [['a'], ['b', 'c']]);
  assert.deepEqual(cut(['a']), [['a']]);
});
