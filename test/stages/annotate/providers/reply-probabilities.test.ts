// SPDX-License-Identifier: Apache-2.0
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseReplies } from '../../../../src/stages/annotate/allowed-replies.ts';
import { localJudge } from '../../../../src/stages/annotate/providers/local.ts';
import { askProbabilities, spelledReplies } from '../../../../src/stages/annotate/providers/reply-probabilities.ts';
import { scoreOnOriginal } from '../../../../src/stages/score.ts';
import { fakeContext, recordFrom, rowOf } from '../../../support/fake-engine.ts';
import { judgeRequest } from '../../../support/judge-request.ts';
import { DEMO, openFixture, withoutEngine } from '../../../support/native.ts';

const { signal } = new AbortController();
const yesNo = parseReplies('{"yes": [1, "Yes", "yes"], "no": [0, "No"]}')!;

test('all spellings are branches behind one prompt; those of a reply are summed', async () => {
  const context = await fakeContext();
  const judge = await localJudge('local:dir', { context });
  const request = { ...judgeRequest(), images: ['cat.png'], replies: yesNo };
  const attempt = await judge.ask(request, signal);
  const [asked, ...others] = context.engine.scored;
  assert.equal(others.length, 0);
  assert.deepEqual([asked!.images.length, asked!.branches.length], [1, 3]);
  // The fake's log-probability of a token is minus its id over 1000.
  const logp = (branch: number) => -asked!.branches[branch]!.reduce((sum, id) => sum + id, 0) / 1000;
  assert.equal(attempt.outcome, 'ok');
  const { yes, no } = JSON.parse(attempt.text);
  assert.ok(Math.abs(yes - Math.log(Math.exp(logp(0)) + Math.exp(logp(1)))) < 1e-6);
  assert.ok(Math.abs(no - logp(2)) < 1e-6);
  assert.ok(!asked!.branches.some((ids) => ids.includes(2)), 'no end token');
  assert.equal(attempt.usage!.input_tokens, asked!.promptIds.length);
});

test('spellings of the same tokens count once; one that begins another is no guide for this model', async () => {
  const context = await fakeContext();
  const template = await context.loadTemplate('auto');
  const text = template.render([{ role: 'user', content: [{ type: 'text', text: 'Well?' }] }]);
  const prepared = {
    prompt: { text, ids: context.tokenizer.encode(text), template },
    promptIds: new Int32Array(4),
    numPositions: 4,
  };
  const spelled = (table: string) => spelledReplies(prepared, parseReplies(table)!, context);
  assert.deepEqual(
    spelled('{"a": [1, "Yes"], "b": [0, "No"]}').map(({ spelling }) => spelling),
    ['Yes', 'No'],
  );
  assert.throws(
    () => spelled('{"a": [1, "Yes"], "b": [0, "Yes, there"]}'),
    /none begins another .*got "Yes" and "Yes, there"/,
  );
  await assert.rejects(
    askProbabilities(
      context,
      { id: 'j', prompt: 'Well?' },
      parseReplies('{"a": [1, "Yes"], "b": [0, "Yes, no"]}')!,
      signal,
    ),
    /replies: expected spellings/,
  );
});

test('a prompt that does not fit fails its row', async () => {
  const context = await fakeContext();
  const attempt = await askProbabilities(context, { id: 'j', prompt: 'word '.repeat(20_000) }, yesNo, signal);
  assert.equal(attempt.outcome, 'invalid');
  assert.match(attempt.message!, /max_position_embeddings/);
});

test("the demo model's reply probabilities equal those of score", { skip: withoutEngine }, async () => {
  const model = await openFixture(DEMO);
  try {
    const record = {
      id: 'j',
      prompt: 'Is there a horse in the image?',
      images: ['fixtures/demo/data/preference/images/scene_0000.jpg'],
    };
    const attempt = await askProbabilities(model.context, record, yesNo, signal);
    const responses = ['Yes', 'yes', 'No'].map((text) => ({ text, finish_reason: 'length' as const }));
    const scored = await recordFrom(scoreOnOriginal(model.context), rowOf({ ...record, responses }));
    const [yes, lower, no] = scored.responses!.map(({ logps_original: logps }) => logps!);
    const got = JSON.parse(attempt.text);
    assert.ok(Math.abs(got.yes - Math.log(Math.exp(yes!) + Math.exp(lower!))) < 1e-5);
    assert.ok(Math.abs(got.no - no!) < 1e-5);
    // There is one; and a model that was trained to answer so says hardly anything else.
    assert.ok(got.yes > got.no);
    assert.ok(Math.exp(got.yes) + Math.exp(got.no) > 0.9);
    assert.deepEqual(await askProbabilities(model.context, record, yesNo, signal), attempt);
  } finally {
    await model.close();
  }
});
