// SPDX-License-Identifier: Apache-2.0
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { plainLetter } from '../../../src/stages/annotate/replies/choice.ts';
import { type ReplyKind, replyReaders } from '../../../src/stages/annotate/replies/index.ts';
import { shrSentences } from '../../../src/stages/annotate/replies/judgement.ts';
import type { Reading, ReplyContext, ReplyReader } from '../../../src/stages/annotate/replies/reading.ts';

const context: ReplyContext = {
  labels: ['A', 'B'],
  scores: [
    { name: 'helpfulness', type: 'integer', minimum: 0, maximum: 4 },
    { name: 'quality', type: 'number', minimum: 0, maximum: 1 },
  ],
  comment: true,
  ownResponse: true,
  letters: ['A', 'B', 'C', 'D'],
  sentences: ['A cat sits', 'It is red'],
};

/** The reading, or undefined when the reply was not understood. */
function read(kind: ReplyKind, text: string): Reading | undefined {
  const reader: ReplyReader = replyReaders[kind];
  const result = reader.read(text, context);
  return 'reading' in result ? result.reading : undefined;
}

const rating = (helpfulness: unknown, quality: unknown = 0.5) => ({ comment: 'c', helpfulness, quality });
const whole = { own_response: 'mine', ratings: { A: rating(1), B: rating(4, 1) } };

test("json: scores by label, the judge's own response separate", () => {
  const expected = {
    scores: [
      { helpfulness: 1, quality: 0.5 },
      { helpfulness: 4, quality: 1 },
    ],
    ownResponse: 'mine',
  };
  assert.deepEqual(read('json', JSON.stringify(whole)), expected);
  assert.deepEqual(read('json', `\n\`\`\`json\n${JSON.stringify(whole, null, 1)}\n\`\`\`\n`), expected);
});

test('json: in a fence of any kind, after reasoning, in prose with one fence; never one of two', () => {
  const json = JSON.stringify(whole, null, 1);
  const expected = read('json', json);
  assert.notEqual(expected, undefined);
  for (const text of [
    `\`\`\`JSON\n${json}\n\`\`\``,
    `\`\`\`\n${json}\n\`\`\``,
    `\`\`\` json\n${json}\n\`\`\``,
    `\`\`\`json ${JSON.stringify(whole)} \`\`\``,
    `\`\`\`\`jsonc\n${json}\n\`\`\`\``,
    `~~~\n${json}\n~~~`,
    `~~~json\n${json}\n~~~\n`,
    `json\n${json}`,
    `Here it is:\n\n\`\`\`Json\n${json}\n\`\`\`\nI hope it helps.`,
    `<think>\n{"ratings": {}}\n</think>\n\`\`\`json\n${json}\n\`\`\``,
  ])
    assert.deepEqual(read('json', text), expected, text);
  const quoting = { ...whole, own_response: 'it says "helpfulness": 3, "ratings": {}' };
  assert.deepEqual(read('json', JSON.stringify(quoting))?.scores, expected?.scores);
  const two = `\`\`\`json\n${json}\n\`\`\`\nor\n\`\`\`json\n${json}\n\`\`\``;
  for (const text of [two, `<think>${json}`, `\`\`\`json\n${json}\n~~~`])
    assert.equal(read('json', text), undefined, text);
});

test('json: every deviation is refused with its place', () => {
  const reader: ReplyReader = replyReaders.json;
  const cases: [unknown, RegExp][] = [
    [{ ...whole, own_response: undefined }, /own_response: expected a string, got nothing/],
    [{ ...whole, ratings: { A: rating(1) } }, /ratings\.B: expected an object, got nothing/],
    [{ ...whole, ratings: { A: rating('1'), B: rating(1) } }, /A\.helpfulness: expected an integer in 0\.\.4, got "1"/],
    [{ ...whole, ratings: { A: rating(5), B: rating(1) } }, /A\.helpfulness: .*got 5/],
    [{ ...whole, ratings: { A: rating(-1), B: rating(1) } }, /A\.helpfulness: .*got -1/],
    [{ ...whole, ratings: { A: rating(1.5), B: rating(1) } }, /A\.helpfulness: .*got 1\.5/],
    [{ ...whole, ratings: { A: rating(null), B: rating(1) } }, /A\.helpfulness: .*got null/],
    [{ ...whole, ratings: { A: rating(1, 1.01), B: rating(1) } }, /A\.quality: expected a number in 0\.\.1, got 1\.01/],
    [{ ...whole, ratings: { ...whole.ratings, C: rating(1) } }, /expected no property "C"/],
    [{ ...whole, extra: 1 }, /expected no property "extra"/],
    [{ ...whole, ratings: [rating(1), rating(2)] }, /ratings: expected an object/],
    [[whole], /reply: expected an object/],
    [7, /reply: expected an object, got 7/],
  ];
  for (const [value, problem] of cases) {
    const result = reader.read(JSON.stringify(value), context);
    assert.ok('problem' in result, JSON.stringify(value));
    assert.match(result.problem, problem);
  }
  const texts = [
    '',
    'no',
    '{"own_response": "x"',
    `${JSON.stringify(whole)} Hope this helps`,
    `{"a":NaN}`,
    JSON.stringify(whole).repeat(2),
    JSON.stringify(whole).replace('"helpfulness":1', '"helpfulness":3,"helpfulness":1'),
  ];
  for (const text of texts) assert.equal(read('json', text), undefined, text);
});

test('grade', () => {
  for (const [text, grade] of [
    ['0.8', 0.8],
    [' 1\n', 1],
    ['.5 because', 0.5],
    ['0.0', 0],
    ['1.', 1],
  ] as const) {
    assert.deepEqual(read('grade', text), { scores: [{ grade }] }, text);
  }
  assert.deepEqual(read('grade', '<think>0.3?</think>0.5 (two of 4 parts)'), { scores: [{ grade: 0.5 }] });
  for (const text of ['1 of the two roots, so half', '0 or 1', '1, or 0.5', '0.5 to 0.7', '0.2\nCorrectness: 0.8'])
    assert.equal(read('grade', text), undefined, text);
  for (const text of ['', '1.1', '-0.1', 'nan', '0x1', '1e-1', 'Score: 0.5', '0,5']) {
    assert.equal(read('grade', text), undefined, text);
  }
});

test('two scores', () => {
  for (const text of ['8 9', '8, 9\nAssistant 1 was', '  8.0   9 \nbecause']) {
    assert.deepEqual(read('two-scores', text), { scores: [{ reference_score: 8, score: 9 }] }, text);
  }
  for (const text of ['', '8', '8 9 10', 'Scores: 8 9', '0 9', '8 11', '8/10 9/10', '-1 -1']) {
    assert.equal(read('two-scores', text), undefined, text);
  }
});

test('rating: the one unambiguous, double brackets before single ones, 1 to 10', () => {
  const cases: [string, number | undefined][] = [
    ['Good. Rating: [[7]]', 7],
    ['as in [3], rating [[8.5]]', 8.5],
    ['Rating: [6]', 6],
    ['[[1]] then [[9]]', undefined],
    ['A poor one gets [[2]], a perfect one [[10]]. Rating: [[6]]', undefined],
    ['[[7]]. As I said: Rating: [[7]]', 7],
    ['It would get [[2]] if it were short. Rating: 9', undefined],
    ['Rating: [[8]], I rate it 8 out of 10.', 8],
    ['I rate it 4 out of 10, or [[5]].', undefined],
    ['Step [2] repeats step [1]. I rate it 9.', undefined],
    ['The mistake is in step [2].', undefined],
    ['Score: **[6]**', 6],
    ['It is right.\n[9]', 9],
    ['<think>first [[3]]</think>Rating: [[8]]', 8],
    ['<think>first [[3]]', undefined],
    ['[[0]]', undefined],
    ['[[11]]', undefined],
    ['[[rating]]', undefined],
    ['Rating: 7', undefined],
    ['', undefined],
  ];
  for (const [text, value] of cases) assert.equal(read('rating', text)?.scores?.[0]?.rating, value, text);
});

test('verdict: one of three, no second thoughts', () => {
  const cases: [string, number | null | undefined][] = [
    ['A is better. [[A]]', 0],
    ['[[B]] ... so [[B]]', 1],
    ['[[C]]', null],
    ['[[A]] or [[B]]', undefined],
    ['[A]', undefined],
    ['[[D]]', undefined],
    ['', undefined],
  ];
  for (const [text, winner] of cases) assert.equal(read('verdict', text)?.winner, winner, text);
});

test('ranking: both models once, as Python or as JSON', () => {
  const cases: [string, number | undefined][] = [
    ["[{'model': 'model_1', 'rank': 1}, {'model': 'model_2', 'rank': 2}]", 0],
    ["Sure:\n[\n {'model': 'model_2', 'rank': 1},\n {'model': 'model_1', 'rank': 2},\n]", 1],
    ['[{"model": "model_1", "rank": 2}, {"model": "model_2", "rank": 1}]', 1],
    ["[{'model': 'model_1', 'rank': 1}, {'model': 'model_2', 'rank': 1}]", undefined],
    ["[{'model': 'model_1', 'rank': 1}]", undefined],
    [
      "[{'model': 'model_1', 'rank': 1}, {'model': 'model_2', 'rank': 2}] or rather [{'model': 'model_2', 'rank': 1}, {'model': 'model_1', 'rank': 2}]",
      undefined,
    ],
    ["[{'model': 'model_1', 'rank': 1}, {'model': 'model_1', 'rank': 2}]", undefined],
    ['model_1', undefined],
  ];
  for (const [text, winner] of cases) assert.equal(read('ranking', text)?.winner, winner, text);
});

test('choice: one letter of the options or Z', () => {
  const cases: [string, string | undefined][] = [
    ['B', 'B'],
    ['(C).', 'C'],
    ['Letter: D', 'D'],
    ['Z', 'Z'],
    ['B or C', undefined],
    ['**B**', 'B'],
    ['B. a hen', 'B'],
    ['C - a horse', 'C'],
    ['The answer means option D.', 'D'],
    ['The answer is "B", a hen.', 'B'],
    ['<think>A or B</think>\nC', 'C'],
    ['A cat is not on the list, so none.', undefined],
    ['A dog', undefined],
    ['I think it is a dog.', undefined],
    ['Not B.', undefined],
    ['The answer is not B', undefined],
    ['It is neither option A nor option B', undefined],
    ['The answer is A cat', undefined],
    ['The answer is A because it barks.', 'A'],
    ['The answer is B because it barks.', 'B'],
    ['Option B, though A would fit.', undefined],
    ['Option B, though (C) would fit.', undefined],
    ['E', undefined],
    ['', undefined],
    ['b', undefined],
  ];
  for (const [text, choice] of cases) {
    assert.deepEqual(read('choice', text), choice && { verdicts: [{ choice }] }, text);
  }
  assert.deepEqual(
    ['B', ' (C) ', 'D.', 'A: ', 'A dog', 'E', 'b', ''].map((text) => plainLetter(text, context.letters)),
    [...['B', 'C', 'D', 'A'], ...[undefined, undefined, undefined, undefined]],
  );
});

test('judgement: one line per sentence', () => {
  const reading = read(
    'judgement',
    'Let me see.\nJudgement:\n1. Hallucination: no cat\n\n2. Cannot judge: colour unknown\n',
  );
  assert.deepEqual(reading?.scores, [{ hallucinated: 1, sentences: 2 }]);
  assert.deepEqual(reading?.verdicts, [
    {
      sentences: [
        { text: 'A cat sits', label: 'hallucination', reason: 'no cat' },
        { text: 'It is red', label: 'cannot judge', reason: 'colour unknown' },
      ],
    },
  ]);
  for (const text of [
    '',
    '1. Correct: a\n2. Correct: b',
    'Judgement:\n1. Correct: a',
    'Judgement:\n1. Correct: a\n2. Correct: b\n3. Correct: c',
    'Judgement:\n1. Right: a\n2. Correct: b',
    'Judgement:\n2. Correct: b\n1. Hallucination: a',
  ]) {
    assert.equal(read('judgement', text), undefined, text);
  }
});

test('SHR sentences: split at full stops, without exact and contained repeats', () => {
  assert.deepEqual(shrSentences('A cat sits.  A dog\nruns. A cat sits. A dog. It costs 3.5 euro.'), [
    ...['A cat sits', 'A dog runs', 'It costs 3', '5 euro'],
  ]);
  assert.deepEqual(shrSentences(' . '), []);
});

test('names: a JSON list, alone, fenced or as the last line', () => {
  const cases: [string, string[] | undefined][] = [
    ['["dog", "tennis racket"]', ['dog', 'tennis racket']],
    ['[]', []],
    ['```json\n["dog"]\n```', ['dog']],
    ['The objects are:\n["dog"]', ['dog']],
    ['<think>["cat"]</think>["dog"]', ['dog']],
    ['dog, cat', undefined],
    ['["dog", 3]', undefined],
    ['{"objects": ["dog"]}', undefined],
    ['["dog"', undefined],
    ['', undefined],
  ];
  for (const [text, names] of cases) assert.deepEqual(read('names', text), names && { verdicts: [{ names }] }, text);
});
