// SPDX-License-Identifier: Apache-2.0
// eval drift on columns made by rule; against a server: test/commands/drift.test.ts and scripts/checks/drift-faults.ts.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { randomStream } from '../../src/records/random.ts';
import type { Response } from '../../src/records/record.ts';
import { evaluateContents } from '../support/evaluate.ts';

const evaluateRows = (benchmark: string, rows: object[]) => evaluateContents(benchmark, { 'rows.ndjson': rows });

const random = randomStream(7, 'drift');
const normal = () => Math.sqrt(-2 * Math.log(1 - random.nextFloat())) * Math.cos(2 * Math.PI * random.nextFloat());
const TOKENS = ['The', ' image', ' shows', ' a', ' dog', '.', '</s>'];
const ours = () => TOKENS.map(() => -0.5 - random.nextFloat());
const near = (column: number[], by: number) => column.map((one) => one + by * normal());

/** Records of one answer; `server` makes its numbers out of ours and those of the readings. */
function records(
  server: (own: number[], drift: Record<string, number[]>, index: number) => number[],
  more: Partial<Response> = {},
) {
  return Array.from({ length: 12 }, (_, index) => {
    const own = ours();
    const drift = { 'no-image': near(own, 1), 'template:plain': near(own, 1), 'dtype:bf16': near(own, 0.01) };
    const response = {
      ...{
        text: 'The image shows a dog.',
        endpoint_per_token_logps: server(own, drift, index),
        endpoint_tokens: TOKENS,
      },
      ...{ per_token_logps: own, tokens: TOKENS, drift },
      ...more,
    };
    return { id: `q${index}`, prompt: 'What?', images: [`${index % 4}.png`], responses: [response] };
  });
}

async function verdictOf(rows: object[]) {
  const { rows: scored, notes } = await evaluateRows('drift', rows);
  return { all: scored.at(-1)!, rows: scored, note: notes[0]! };
}

test('each reading is named with the figure that is left', async () => {
  for (const name of ['no-image', 'template:plain']) {
    const { all, note, rows } = await verdictOf(records((_, drift) => near(drift[name]!, 1e-4)));
    assert.equal(all.verdict, name);
    assert.ok((all.score as number) > 0.7 && (all.verdict_score as number) < 2e-4);
    assert.match(
      note,
      name === 'no-image'
        ? /does not see the image; .* nats per token from vpref's, .* with that change/
        : /template plain/,
    );
    assert.deepEqual(
      rows.map(({ split }) => split),
      ['no-image', 'template:plain', 'dtype:bf16', 'all'],
    );
  }
});

test('rounding is distinguished from other readings of the record, and f16 from bf16', async () => {
  assert.equal((await verdictOf(records((own) => near(own, 1e-5)))).all.verdict, 'agrees');
  assert.equal((await verdictOf(records((own) => near(own, 0.0015)))).all.verdict, 'dtype:f16');
  assert.equal((await verdictOf(records((own) => near(own, 0.01)))).all.verdict, 'dtype:bf16');
  assert.equal((await verdictOf(records((_, drift) => near(drift['dtype:bf16']!, 1e-5)))).all.verdict, 'dtype:bf16');
});

test('what is as near as rounding but goes one way, or is farther off than it, is another model', async () => {
  assert.equal(
    (await verdictOf(records((own) => near(own, 0.005).map((one) => one + 0.015)))).all.verdict,
    'other-model',
  );
  const { all, note } = await verdictOf(records((own) => near(own, 0.3)));
  assert.equal(all.verdict, 'other-model');
  assert.match(note, /another checkpoint, adapter/);
});

test('answers that are not all read alike are counted', async () => {
  const { all, note } = await verdictOf(records((own, drift, index) => (index % 3 === 0 ? drift['no-image']! : own)));
  assert.equal(all.verdict, 'mixed');
  assert.deepEqual(all.shown, { 'no-image': 4, 'as-is': 8 });
  assert.match(note, /no-image 4, as-is 8/);
});

test('two columns alone: agree, differ as rounding does, or differ', async () => {
  const alone = { drift: undefined } as unknown as Partial<Response>;
  assert.equal((await verdictOf(records((own) => near(own, 1e-5), alone))).all.verdict, 'agrees');
  assert.equal((await verdictOf(records((own) => near(own, 0.01), alone))).all.verdict, 'precision');
  const { all, note } = await verdictOf(records((own) => near(own, 1), alone));
  assert.equal(all.verdict, 'differs');
  assert.match(note, /score --drift finds which/);
});

test('tokens: a missing end token, blanks and ids are forms of the same; other pieces are another tokenizer', async () => {
  const forms: [string[], number][] = [
    [TOKENS.slice(0, -1), 6],
    [TOKENS.map((token) => token.trim()), 7],
    [TOKENS.map((token) => token.replace(' ', '\u2581')), 7],
    [TOKENS.map((_, id) => `token_id:${id}`), 7],
    [[...TOKENS.slice(0, -1), ''], 7],
  ];
  for (const [endpoint_tokens, count] of forms) {
    const { all } = await verdictOf(records((own) => own.slice(0, count), { endpoint_tokens }));
    assert.deepEqual([all.verdict, all.tokens], ['agrees', 12 * count]);
  }
  const others = { endpoint_tokens: ['The', ' im', 'age', ' shows', ' a', ' dog.', '</s>'] };
  const { all, note } = await verdictOf(records((own) => own, others));
  assert.deepEqual([all.verdict, all.n, all.score, all.other_tokens], ['tokenisation', 0, null, 12]);
  assert.match(note, /another tokenizer/);
  assert.equal((await verdictOf(records((own) => [...own, -1, -1], others))).all.verdict, 'tokenisation');
});

test('a token with minus infinity is left out and counted', async () => {
  const { rows, notes } = await evaluateRows(
    'drift',
    records((own) => [-9999, ...own.slice(1)]),
  );
  assert.deepEqual([rows.at(-1)!.verdict, rows.at(-1)!.tokens], ['agrees', 12 * 6]);
  assert.match(notes[1]!, /^12 tokens are skipped: .*minus infinity/);
});

test('a row for each label; what has no column is counted; nothing at all, or no column of ours, is an error', async () => {
  const [good, bad] = [
    records((own) => own, { label: 'good' }),
    records((_, drift) => drift['no-image']!, { label: 'bad' }),
  ];
  const both = good.map((record, index) => ({
    ...record,
    responses: [...record.responses, ...bad[index]!.responses, { text: 'ours' }],
  }));
  const { rows, notes } = await evaluateRows('drift', both);
  const verdicts = rows.filter(({ split }) => split === 'all').map(({ model, verdict }) => [model, verdict]);
  assert.deepEqual(verdicts, [
    ['good', 'agrees'],
    ['bad', 'no-image'],
  ]);
  assert.match(notes.at(-1)!, /^12 responses have no endpoint_per_token_logps/);
  await assert.rejects(
    evaluateRows('drift', [{ id: 'a', prompt: 'q', responses: [{ text: 'x' }] }]),
    /expected responses with endpoint_per_token_logps .* got 1 without/,
  );
  const unscored = [{ id: 'a', prompt: 'q', responses: [{ text: 'x', endpoint_per_token_logps: [-1] }] }];
  await assert.rejects(
    evaluateRows('drift', unscored),
    /:1: .*responses\[0\].per_token_logps: expected our log-probabilities/,
  );
});
