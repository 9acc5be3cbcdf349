// SPDX-License-Identifier: Apache-2.0
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { importFailure } from '../../support/import-stage.ts';

test('the error for a file of another format names the likely format', async () => {
  const user = { role: 'user', content: 'q' };
  const talk = [{ from: 'human', value: 'q' }];
  const cases: [string, object, string | undefined][] = [
    ['sharegpt', { instruction: 'i', chosen: 'c', rejected: 'r' }, 'alpaca'],
    ['sharegpt', { query: 'q', response: 'a' }, 'ms-swift'],
    ['llava', { messages: [user], rejected_response: 'r' }, 'ms-swift'],
    ['llava', { conversations: talk, chosen: 'c', rejected: 'r' }, 'llama-factory'],
    ['alpaca', { conversations: talk, image: 'a.png' }, 'llava'],
    ['trl', { image_id: '1.png', question: 'q', chosen: 'c', reject: 'r' }, 'seva'],
    ['openai', { prompt: 'q', chosen: 'c', rejected: 'r' }, 'trl'],
    ['llava', { image_id: 1, question: 'q', answer: 'a' }, 'lrv'],
    ['trl', { image_file: 'a.png', q_a_pairs: [['q', 'a']] }, 'scigraphqa'],
    ['sharegpt', { input: { messages: [user] }, preferred_output: [], non_preferred_output: [] }, 'openai'],
    ['lrv', { image_id: 1, answer: 'a' }, undefined],
  ];
  for (const [format, item, likely] of cases) {
    const message = await importFailure(format, item);
    const told = /vpref import ([a-z-]+)\)$/.exec(message ?? '')?.[1];
    assert.equal(told, likely, `${format}: ${message}`);
  }
});

test('the error for an object around the items lists its members', async () => {
  const item = { id: 'a', conversations: [{ from: 'human', value: 'q' }] };
  assert.match(
    (await importFailure('llava', { 0: item, 1: item }))!,
    /got nothing \(an object with "0", "1"; items are expected in an array or one per line\)$/,
  );
  assert.match(
    (await importFailure('llava', { version: 1, content: [item] }))!,
    /an object with "version", "content"; items/,
  );
});
