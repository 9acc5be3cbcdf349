// SPDX-License-Identifier: Apache-2.0
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { parseRatingOfficial, parseRatingStrict } from '../../src/benchmarks/mmhal/score.ts';
import { evaluateContents } from '../support/evaluate.ts';
import { assertFigures, rowOf } from '../support/figures.ts';
import { importFailure, importOne } from '../support/import-stage.ts';

const item = {
  question_type: 'attribute',
  question_topic: 'outdoor',
  image_id: 'a1',
  image_src: 'https://example.org/8/72_o.jpg',
  image_content: ['Fire hydrant', 'Street'],
  question: 'What colour?',
  gt_answer: 'Yellow.',
  model_answer: '',
};

test('import: the image by its file name, what the judge is told, an answer that is there', async () => {
  assert.deepEqual(await importOne('mmhal', item), {
    id: 'mmhal/0',
    images: ['72_o.jpg'],
    prompt: 'What colour?',
    source: 'mmhal',
    reference: 'Yellow.',
    context: 'Image contents: Fire hydrant, Street',
    meta: { question_id: '0', question_type: 'attribute', question_topic: 'outdoor' },
  });
  const answered = await importOne('mmhal', { ...item, model_answer: 'Red.' });
  assert.deepEqual(answered.responses, [{ text: 'Red.' }]);
  assert.match(
    (await importFailure('mmhal', { ...item, image_content: 'x' }))!,
    /image_content: expected a list of names/,
  );
});

const reply = (content: string | null) => ({ model: 'gpt-4', choices: [{ message: { content } }] });

describe('score', () => {
  test("the judge's replies in order: mean, share below 3, informativeness, types by place", async () => {
    // 6 5 3 | 2 1 0 | 4 and a second round of attribute with 1, then a reply without a rating: 0
    // ratings 6 5 3 2 1 0 4 0 1: mean 22/9, below 3: 5/9.  informed: 3 2 0 2 1 0 1 0 1 = 10/9 of 3
    const ratings = [6, 5, 3, 2, 1, 0, 4];
    const replies = [
      ...ratings.map((rating) => reply(`Fine.\nRating: ${rating}, so`)),
      reply('No idea'),
      reply('Rating: 1'),
    ];
    const { rows, failed } = await evaluateContents('mmhal', { 'eval.json': JSON.stringify(replies) });
    assertFigures(rowOf(rows), {
      n: 9,
      score: 22 / 9,
      hallucination_rate: 5 / 9,
      informativeness: 1000 / 27,
      unparsed: 1,
    });
    assertFigures(rowOf(rows, 'attribute'), { n: 2, score: 3.5, hallucination_rate: 0.5 });
    assertFigures(rowOf(rows, 'other'), { n: 1, score: 0, unparsed: 1 });
    assert.equal(failed, 0);
    // strict: the reply without a rating is no rating: 22/8, 4/8
    const strict = await evaluateContents('mmhal', { 'eval.json': JSON.stringify(replies) }, {}, { parse: 'strict' });
    assertFigures(rowOf(strict.rows), { n: 8, score: 22 / 8, hallucination_rate: 0.5, failed: 1, unparsed: 0 });
  });

  test('a call without a reply is no hallucination, unless told so', async () => {
    const merged = [6, null, 4].map((rating, k) => ({
      ...{ ...item, question_type: ['attribute', 'adversarial', 'comparison'][k] },
      gpt4_review: rating === null ? null : `Rating: ${rating}`,
    }));
    const files = { 'merged.json': JSON.stringify(merged) };
    const { rows, failed } = await evaluateContents('mmhal', files);
    assertFigures(rowOf(rows), { n: 2, score: 5, hallucination_rate: 0, failed: 1 });
    assert.equal(failed, 1);
    assertFigures(rowOf(rows, 'adversarial'), { n: 0, score: null, failed: 1 });
    const included = await evaluateContents('mmhal', files, {}, { includeFailed: true });
    assertFigures(rowOf(included.rows), { n: 3, score: 10 / 3, hallucination_rate: 1 / 3 });
  });

  test('records judged with guide mmhal, the template as labels', async () => {
    const annotation = { guide: 'mmhal', judge: 'j', run: 1, order: [0] };
    const record = (id: number, more: object) => ({
      ...{ id: `mmhal/${id}`, prompt: 'q', images: [`${id}.jpg`], responses: [{ text: 'a' }] },
      meta: { question_id: String(id), question_type: 'attribute' },
      annotations: [{ ...annotation, ...more }],
    });
    const records = [
      record(0, { outcome: 'ok', scores: [{ rating: 5 }] }),
      record(1, { outcome: 'rate-limited' }),
      record(2, { outcome: 'ok', scores: [{ rating: 2 }] }),
    ];
    const template = JSON.stringify([
      item,
      { ...item, question_type: 'adversarial' },
      { ...item, question_type: 'other' },
    ]);
    const { rows } = await evaluateContents('mmhal', { 'r.ndjson': records }, { 'template.json': template });
    assertFigures(rowOf(rows), { n: 2, score: 3.5, hallucination_rate: 0.5, failed: 1 });
    assertFigures(rowOf(rows, 'other'), { n: 1, score: 2 });
    const high = [record(0, { outcome: 'ok', scores: [{ rating: 7 }] })];
    await assert.rejects(
      evaluateContents('mmhal', { 'r.ndjson': high }),
      /scores\.rating: expected an integer from 0 to 6, got 7/,
    );
  });

  test('what is no reply is named', async () => {
    await assert.rejects(
      evaluateContents('mmhal', { 'e.json': JSON.stringify([{ score: 3 }, {}]) }),
      /e\.json:1: choices: expected the judge's reply \(choices, or gpt4_review\), got nothing/,
    );
  });
});

test('ratings', () => {
  const cases: [string, number | undefined, number | undefined][] = [
    ['Rating: 6', 6, 6],
    ['rating: 0, not informative', 0, 0],
    ['**Rating: 5**', 5, 5],
    ['**Rating:** 5', undefined, 5],
    ['Rating:5', undefined, 5],
    ['Rating: 4. Rating: 4', 4, 4],
    ['Rating: 4 or Rating: 5', undefined, undefined],
    ['Rating: 10', 1, undefined],
    ['Rating: 4.5', 4, undefined],
    ['Rating: 7', undefined, undefined],
    ['Overrating: 3', 3, undefined],
    ['<think>Rating: 2</think>Rating: 6', undefined, 6],
    ['I rate it 5', undefined, undefined],
    ['', undefined, undefined],
  ];
  for (const [text, official, strict] of cases) {
    assert.equal(parseRatingOfficial(text), official, text);
    assert.equal(parseRatingStrict(text), strict, text);
  }
});
