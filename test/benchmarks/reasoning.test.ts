// SPDX-License-Identifier: Apache-2.0
// Answers and judges' replies with the model's reasoning before them.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseRankingStrict } from '../../src/benchmarks/alpaca-eval/score.ts';
import { parseReviewStrict } from '../../src/benchmarks/llava-bench/score.ts';
import { parseGradeStrict } from '../../src/benchmarks/mmvet/score.ts';
import { parseRatingStrict } from '../../src/benchmarks/mt-bench/score.ts';
import { strictLetter } from '../../src/benchmarks/scoring/choice.ts';
import { parseShrStrict } from '../../src/benchmarks/shr/score.ts';
import { evaluateContents } from '../support/evaluate.ts';

const labels = {
  'pope.json': [
    { question_id: 1, image: 'a.jpg', text: 'Is there a cup?', label: 'yes' },
    { question_id: 2, image: 'b.jpg', text: 'Is there a hat?', label: 'no' },
  ],
};
const answers = {
  'a.jsonl': [
    { question_id: 1, text: '<think>No cup at first sight. No.</think>\nYes, there is a cup.' },
    { question_id: 2, text: '<think>\nYes or no?\n</think>No.' },
  ],
};

test('strict reads what follows the reasoning; official reads all, as its script, and a note says so', async () => {
  const strict = await evaluateContents('pope', answers, labels, { parse: 'strict' });
  assert.deepEqual([strict.rows.at(-1)!.accuracy, strict.notes], [1, []]);
  const official = await evaluateContents('pope', answers, labels, { parse: 'official' });
  assert.equal(official.rows.at(-1)!.accuracy, 0.5);
  assert.match(official.notes.join('\n'), /^2 answers hold reasoning/m);
});

test('strict lengths are those of the answers', async () => {
  const words = async (parse: 'official' | 'strict') =>
    (
      await evaluateContents(
        'length',
        { 'l.jsonl': [{ question_id: 1, text: '<think>a b c</think>d e' }] },
        {},
        { parse },
      )
    ).rows.at(-1)!.score;
  assert.deepEqual([await words('strict'), await words('official')], [2, 4]);
});

test('every strict reader of replies', () => {
  const think = (text: string, rest: string) => `<think>${text}</think>\n${rest}`;
  assert.equal(parseRatingStrict(think('[[3]]', '[[8]]')), 8);
  assert.equal(parseGradeStrict(think('0.2?', '0.9')), 0.9);
  assert.deepEqual(parseReviewStrict(think('1 2', '8 9')), [8, 9]);
  const ranking = (first: number) =>
    `[{'model': 'model_1', 'rank': ${first}}, {'model': 'model_2', 'rank': ${3 - first}}]`;
  assert.equal(parseRankingStrict(think(ranking(1), ranking(2))), 2);
  assert.equal(parseRankingStrict(`${ranking(1)} or ${ranking(2)}`), undefined);
  const judged = parseShrStrict(think('Judgement:\n1. Correct', 'Judgement:\n1. Hallucination: no cat'), 'A cat.');
  assert.equal(judged?.[0]?.label, 'hallucination');
  assert.equal(strictLetter('The answer is A cat', ['a dog', 'a hen']), undefined);
});
