// SPDX-License-Identifier: Apache-2.0
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { areaUnderCurve } from '../../src/benchmarks/judge-agreement/score.ts';
import { evaluateContents } from '../support/evaluate.ts';
import { assertFigures, near, rowOf } from '../support/figures.ts';
import { importFailure, importItems, importOne } from '../support/import-stage.ts';

const pair = (id: number, preferred: number, annotation: object, more: object = {}) => ({
  ...{ id: `judge-agreement/${id}`, prompt: 'q', images: [`${id}.jpg`], responses: [{ text: 'a' }, { text: 'b' }] },
  meta: { question_id: String(id), preferred, ...more },
  annotations: [{ guide: 'g', judge: 'j', run: 1, outcome: 'ok', ...annotation }],
});
const verdict = (winner: number | null, games?: (number | null)[]) => ({
  verdict: [{ winner, ...(games && { games }) }],
});

describe('score', () => {
  test('verdicts: agreement with ties as halves, as misses, by category, in both orders', async () => {
    // preferred 0 1 1 0 | 0: winners 0 1 0 tie | 0; a failed call
    // 1 + 1 + 0 + 0.5 + 1 = 3.5 of 5 = 70; without ties 3 / 5; macro: x 2.5 / 4, y 1: (62.5 + 100) / 2
    // first preferred: 0, 0, tie, 0 of 5: (1 + 0 + 1 + 0.5 + 1) / 5; same verdict in both orders: 3 of 4
    const records = [
      pair(1, 0, verdict(0, [0, 0]), { category: 'x' }),
      pair(2, 1, verdict(1, [1, 1]), { category: 'x' }),
      pair(3, 1, verdict(0, [0, 0]), { category: 'x' }),
      pair(4, 0, verdict(null, [0, 1]), { category: 'x' }),
      pair(5, 0, verdict(0), { category: 'y' }),
      pair(6, 0, { outcome: 'refused' }, { category: 'y' }),
    ];
    const { rows, failed } = await evaluateContents('judge-agreement', { 'r.ndjson': records });
    assertFigures(rowOf(rows), {
      ...{ n: 5, score: 70, without_ties: 60, ties: 1, macro: 81.25, first_preferred: 0.7, consistent: 0.75 },
      ...{ failed: 1, clusters: 5 },
    });
    assert.equal(rowOf(rows).model, 'j');
    assertFigures(rowOf(rows, 'x'), { n: 4, score: 62.5 });
    assertFigures(rowOf(rows, 'y'), { n: 1, score: 100, failed: 1 });
    assert.equal(failed, 1);
  });

  test('probabilities: the larger wins, margins, area under the curve', async () => {
    // preferred 0 0 1: (0.9 0.2) (0.4 0.6) (0.3 0.3): right, wrong, tie = 50
    // better .9 .4 .3, worse .2 .6 .3: margins .7 -.2 0 = 1/6; pairs: .9 above 3, .4 above 2, .3 above 1 and a half: 6.5 / 9
    const scores = (a: number, b: number) => ({ scores: [{ p_yes: a }, { p_yes: b }] });
    const records = [pair(1, 0, scores(0.9, 0.2)), pair(2, 0, scores(0.4, 0.6)), pair(3, 1, scores(0.3, 0.3))];
    const { rows } = await evaluateContents('judge-agreement', { 'r.ndjson': records });
    assertFigures(rowOf(rows), { n: 3, score: 50, margin: 1 / 6, auc: 6.5 / 9, ties: 1 });
  });

  test('several metrics: the quality of the paper, or an error; labels of a file; each judge by itself', async () => {
    const grades = (values: number[]) => ({
      scores: [values, [2, 2, 2, 4, 4]].map(([helpfulness, correctness, coherence, complexity, verbosity]) => {
        return { helpfulness, correctness, coherence, complexity, verbosity };
      }),
    });
    const records = [pair(1, 0, grades([3, 2, 2, 0, 0])), pair(2, 0, grades([2, 2, 1, 4, 4]))];
    const labels = [
      { id: 1, human_ranking: [0, 1] },
      { id: 2, preferred: 1, image: 'x.jpg' },
    ];
    const { rows } = await evaluateContents('judge-agreement', { 'r.ndjson': records }, { 'l.jsonl': labels });
    assertFigures(rowOf(rows), { n: 2, score: 100, margin: 1 });
    const odd = [
      pair(1, 0, {
        scores: [
          { a: 1, b: 2 },
          { a: 1, b: 2 },
        ],
      }),
    ];
    await assert.rejects(
      evaluateContents('judge-agreement', { 'r.ndjson': odd }),
      /scores\[0\]: expected one score, or helpfulness, correctness, coherence, got a, b/,
    );
  });

  test('what is no pair, and records of two guides', async () => {
    const one = [{ ...pair(1, 0, verdict(0)), responses: [{ text: 'a' }] }];
    await assert.rejects(evaluateContents('judge-agreement', { 'r.ndjson': one }), /responses: expected two responses/);
    const two = [pair(1, 0, verdict(0)), pair(2, 0, { ...verdict(0), guide: 'h' })];
    await assert.rejects(
      evaluateContents('judge-agreement', { 'r.ndjson': two }),
      /expected records judged with one guide, got g, h/,
    );
    const unlabelled = [{ ...pair(1, 0, verdict(0)), meta: {} }];
    await assert.rejects(
      evaluateContents('judge-agreement', { 'r.ndjson': unlabelled }),
      /--labels FILE, or records with meta\.preferred/,
    );
    await assert.rejects(
      evaluateContents(
        'judge-agreement',
        { 'r.ndjson': [pair(1, 0, verdict(0))] },
        { 'l.jsonl': [{ id: 1, human_ranking: [1, 1] }] },
      ),
      /human_ranking: expected the ranks of two answers, \[0, 1\] or \[1, 0\]/,
    );
  });
});

test('area under the curve', () => {
  near(areaUnderCurve([1, 2], [0]), 1);
  near(areaUnderCurve([0], [1, 2]), 0);
  near(areaUnderCurve([1, 1], [1, 1]), 0.5);
  // 3 above 1 and 2, 2 above 1 and even with 2: (2 + 1.5) / 4
  near(areaUnderCurve([3, 2], [1, 2]), 3.5 / 4);
});

test("import: VL-RewardBench's rows; chosen and rejected in an order that is drawn", async () => {
  const row = {
    id: 'RLAIF-V-1',
    query: 'What?',
    image: 'a.jpg',
    response: ['x', 'y'],
    human_ranking: [1, 0],
    models: ['m', 'n'],
  };
  assert.deepEqual(await importOne('judge-agreement', row), {
    ...{ id: 'judge-agreement/RLAIF-V-1', images: ['a.jpg'], prompt: 'What?', source: 'judge-agreement' },
    responses: [{ text: 'x' }, { text: 'y' }],
    meta: { question_id: 'RLAIF-V-1', models: ['m', 'n'], preferred: 1 },
  });
  const pairs = Array.from({ length: 40 }, (_, id) => ({ id, question: 'q', chosen: 'good', rejected: 'bad' }));
  const { records, errors } = await importItems('judge-agreement', pairs);
  assert.deepEqual(errors, []);
  for (const { responses, meta } of records) assert.equal(responses![meta!.preferred as number]!.text, 'good');
  const firsts = records.filter(({ meta }) => meta!.preferred === 0).length;
  assert.ok(firsts > 8 && firsts < 32, `${firsts} of 40 first`);
  assert.match(
    (await importFailure('judge-agreement', { ...row, response: ['x'] }))!,
    /response: expected two answers/,
  );
  assert.match(
    (await importFailure('judge-agreement', { ...row, human_ranking: [0] }))!,
    /human_ranking: expected the ranks/,
  );
});
