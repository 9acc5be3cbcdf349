// SPDX-License-Identifier: Apache-2.0
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { VprefRecord } from '../../src/records/record.ts';
import { score, scoreOnOriginal } from '../../src/stages/score.ts';
import { fakeContext, recordFrom, rowOf, runStage, sum } from '../support/fake-engine.ts';

const context = await fakeContext();
// The fake engine gives a token minus its id over 1000; the end token is 2.
const logpsOf = (text: string, end = true) =>
  sum(Float32Array.from([...context.tokenizer.encode(text), ...(end ? [2] : [])], (id) => -id / 1000));

test('chosen, rejected and choices share one prompt and one request', async () => {
  context.engine.scored.length = 0;
  const record = await recordFrom(
    score(context),
    rowOf({ images: ['a.png'], chosen: 'Yes.', rejected: ['No.', 'Maybe.'], choices: ['A', 'B'] }),
  );
  assert.equal(context.engine.scored.length, 1);
  assert.equal(context.engine.scored[0]!.branches.length, 5);
  assert.equal(record.policy_chosen_logps, logpsOf('Yes.'));
  assert.deepEqual(record.policy_rejected_logps, [logpsOf('No.'), logpsOf('Maybe.')]);
  assert.deepEqual(record.choice_logps, [logpsOf('A'), logpsOf('B')]);
});

test('one rejected answer gives a number, one response its own field', async () => {
  const pair = await recordFrom(score(context), rowOf({ chosen: 'Yes.', rejected: 'No.' }));
  assert.equal(pair.policy_rejected_logps, logpsOf('No.'));
  const single = await recordFrom(score(context), rowOf({ response: 'Yes.', label: true }));
  assert.equal(single.policy_response_logps, logpsOf('Yes.'));
});

test('responses are scored with the images of their view; cut ones without an end token', async () => {
  context.engine.scored.length = 0;
  const views = [{ name: 'noisy', ops: [{ op: 'diffusion', step: 500, seed: 3 }], seed: 3 }];
  const responses: VprefRecord['responses'] = [
    { text: 'Yes.', view: 'original' },
    { text: 'No.', view: 'noisy', finish_reason: 'length' },
    { text: 'Maybe.', label: 'other' },
  ];
  const record = await recordFrom(score(context), rowOf({ images: ['a.png'], views, responses }));
  assert.deepEqual(
    record.responses!.map(({ logps }) => logps),
    [logpsOf('Yes.'), logpsOf('No.', false), logpsOf('Maybe.')],
  );
  assert.deepEqual(
    record.responses!.map(({ num_tokens }) => num_tokens),
    [3, context.tokenizer.encode('No.').length, context.tokenizer.encode('Maybe.').length + 1],
  );
  const noises = context.engine.scored.map(({ images, branches }) => [images[0]!.noise?.step, branches.length]);
  assert.deepEqual(
    noises.sort(),
    [
      [500, 1],
      [undefined, 2],
    ].sort(),
  );
});

test('responses of a conversation are scored after their own earlier turns', async () => {
  context.engine.scored.length = 0;
  const prompt: VprefRecord['prompt'] = [
    { role: 'user', content: 'One?' },
    { role: 'assistant', content: null },
    { role: 'user', content: 'Two?' },
  ];
  const responses: VprefRecord['responses'] = [
    { text: 'b', turns: ['a', 'b'] },
    { text: 'd', turns: ['c', 'd'] },
  ];
  await recordFrom(score(context), rowOf({ prompt, responses }));
  const prompts = context.engine.scored.map(({ promptIds }) => context.tokenizer.decode([...promptIds]));
  assert.deepEqual(
    prompts.sort(),
    ['a', 'c'].map((text) => `USER: One? ASSISTANT: ${text} USER: Two? ASSISTANT:`),
  );
  await assert.rejects(
    recordFrom(score(context), rowOf({ prompt, chosen: 'x' })),
    /prompt\[1\]\.content: expected text .*, got null/,
  );
});

test('a record without texts is an error', async () => {
  await assert.rejects(
    recordFrom(score(context), rowOf({})),
    /record: expected responses, choices, .*, got none of them/,
  );
});

test('a response that does not fit is an error of its row', async () => {
  await assert.rejects(
    recordFrom(score(context), rowOf({ response: 'word '.repeat(600) })),
    /prompt and response: expected at most 512 tokens/,
  );
});

test('--view original: every response under the clean image, in one request; its own sum stays', async () => {
  context.engine.scored.length = 0;
  const views = [{ name: 'noisy', ops: [{ op: 'diffusion', step: 500, seed: 3 }], seed: 3 }];
  const responses: VprefRecord['responses'] = [
    { text: 'Yes.', view: 'original' },
    { text: 'No.', view: 'noisy', logps: -7, finish_reason: 'length' },
  ];
  const record = await recordFrom(scoreOnOriginal(context), rowOf({ images: ['a.png'], views, responses }));
  assert.deepEqual(record.responses, [
    { ...responses[0], logps_original: logpsOf('Yes.') },
    { ...responses[1], logps_original: logpsOf('No.', false) },
  ]);
  assert.deepEqual(
    context.engine.scored.map(({ images, branches }) => [images[0]!.noise, branches.length]),
    [[undefined, 2]],
  );
});

test('--view original needs responses', async () => {
  const [result] = await runStage(scoreOnOriginal(context), [rowOf({ chosen: 'Yes.', rejected: 'No.' })]);
  assert.equal(result!.error!.message, 'test:1: responses: expected at least one to score, got none');
});
