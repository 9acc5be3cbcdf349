// SPDX-License-Identifier: Apache-2.0
// Every official parser on hard strings: outcomes restated in Python by scripts/goldens/eval.py.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { describe, test } from 'node:test';
import { parseRankingOfficial, parseRankingStrict } from '../../src/benchmarks/alpaca-eval/score.ts';
import { parseGqaOfficial } from '../../src/benchmarks/gqa/score.ts';
import { parseReviewOfficial, parseReviewStrict } from '../../src/benchmarks/llava-bench/score.ts';
import { parseMMBenchOfficial } from '../../src/benchmarks/mmbench/score.ts';
import { parseGradeOfficial, parseGradeStrict } from '../../src/benchmarks/mmvet/score.ts';
import { parseRatingOfficial, parseRatingStrict } from '../../src/benchmarks/mt-bench/score.ts';
import { parsePopeOfficial } from '../../src/benchmarks/pope/score.ts';
import { parseScienceOfficial } from '../../src/benchmarks/scienceqa/score.ts';
import { strictLetter } from '../../src/benchmarks/scoring/choice.ts';
import { strictShortAnswer } from '../../src/benchmarks/scoring/short-answer.ts';
import { strictYesNo } from '../../src/benchmarks/scoring/yes-no.ts';
import { parseShrOfficial, parseShrStrict } from '../../src/benchmarks/shr/score.ts';
import { fixture } from '../support/evaluate.ts';

interface Case {
  benchmark: string;
  text: string;
  options?: Record<string, string>;
  response?: string;
  official: unknown;
}

const cases: Case[] = readFileSync(fixture('golden/eval/parse-cases.ndjson'), 'utf8')
  .trim()
  .split('\n')
  .map((line) => JSON.parse(line));

/** As Python's repr of a float. */
function repr(value: number): string {
  if (Number.isNaN(value)) return 'nan';
  if (!Number.isFinite(value)) return value < 0 ? '-inf' : 'inf';
  return Object.is(value, -0) ? '-0.0' : Number.isInteger(value) ? `${value}.0` : String(value);
}

const parsers: Record<string, (one: Case) => unknown> = {
  pope: ({ text }) => parsePopeOfficial(text),
  mmvet: ({ text }) => {
    const grade = parseGradeOfficial(text);
    return grade === undefined ? null : repr(grade);
  },
  'llava-bench': ({ text }) => parseReviewOfficial(text).map(repr),
  mmbench: ({ text, options }) => parseMMBenchOfficial(text, new Map(Object.entries(options!))) ?? null,
  scienceqa: ({ text }) => parseScienceOfficial(text) ?? null,
  gqa: ({ text }) => parseGqaOfficial(text),
  shr: ({ text, response }) => parseShrOfficial(text, response!)?.map(({ text, label }) => [text, label]) ?? null,
  'mt-bench': ({ text }) => parseRatingOfficial(text),
  'alpaca-eval': ({ text }) => parseRankingOfficial(text) ?? null,
};

describe('official parsers', () => {
  test('there are at least 200 cases, some for each parser', () => {
    assert.ok(cases.length >= 200, `${cases.length}`);
    for (const benchmark in parsers)
      assert.ok(cases.filter((one) => one.benchmark === benchmark).length >= 15, benchmark);
  });
  for (const [benchmark, parse] of Object.entries(parsers))
    test(benchmark, () => {
      for (const one of cases.filter((one) => one.benchmark === benchmark)) {
        // Where the official script stops ("[[08]]"), ours reads no rating.
        const expected = one.official === 'error' ? -1 : one.official === true ? 1 : one.official;
        assert.deepEqual(parse(one), expected, JSON.stringify([one.text, one.options ?? one.response]));
      }
    });
});

function expectAll<T>(parse: (text: string) => T, expected: [string, T][]): void {
  for (const [text, value] of expected) assert.deepEqual(parse(text), value, JSON.stringify(text));
}

describe('strict parsers', () => {
  test('pope', () =>
    expectAll(strictYesNo, [
      ['No</s>', 'no'],
      ['NO', 'no'],
      ['No\nThere is no cat', 'no'],
      ["There isn't a cat.", 'no'],
      ['There is not a cat', 'no'],
      ['Yes, there is no doubt', 'yes'],
      ['There is a cat in the image.', 'yes'],
      ['The answer is yes', 'yes'],
      ['', undefined],
      ['A cat', undefined],
      ['\u4e0d', undefined],
    ]));
  test('mmvet', () =>
    expectAll(parseGradeStrict, [
      ['0.5', 0.5],
      ['Score: 0.7', 0.7],
      ['**1.0**', 1],
      ['.5', 0.5],
      ['nan', undefined],
      ['1.5', undefined],
      ['-0.5', undefined],
      ['', undefined],
    ]));
  test('llava-bench', () =>
    expectAll(parseReviewStrict, [
      ['8, 9', [8, 9]],
      ['8 9\nBecause', [8, 9]],
      ['\n8/10 9/10', [8, 9]],
      ['8.5  9', [8.5, 9]],
      ['8', undefined],
      ['0 11', undefined],
      ['', undefined],
    ]));
  test('letters', () =>
    expectAll(
      (text) => strictLetter(text, ['dog', 'cat', 'red bird', 'bird']),
      [
        ['B', 'B'],
        ['(b)', 'B'],
        ['B.', 'B'],
        ['B. cat', 'B'],
        ['\uff22', 'B'],
        ['The answer is C', 'C'],
        ['answer: (D)', 'D'],
        ['A dog', 'A'],
        ['A cat', 'B'],
        ['a red bird', 'C'],
        ['Bird', 'D'],
        ['hotdog', undefined],
        ['dog and cat', undefined],
        ['The answer is A or the answer is B', undefined],
        ['E', undefined],
        ['', undefined],
      ],
    ));
  test('gqa', () =>
    expectAll(strictShortAnswer, [
      ['The dog.', 'dog'],
      [' a  dog ', 'dog'],
      ['"Yes"!', 'yes'],
      ['a', 'a'],
      ['', ''],
    ]));
  test('shr: numbered lines in any dress', () => {
    const read = (reply: string) => parseShrStrict(reply, 'A cat. A dog.')?.map(({ label }) => label);
    assert.deepEqual(read('Here:\nJudgment:\n1) **Correct**: yes\nNote\n2) hallucination: no'), [
      'correct',
      'hallucination',
    ]);
    assert.deepEqual(read('Judgement:\n1. correct: yes'), [null, null]);
    assert.equal(read('1. correct'), undefined);
  });
  test('mt-bench', () =>
    expectAll(parseRatingStrict, [
      ['Rating: [[7]]', 7],
      ['[[7/10]]', 7],
      ['[[7]] so [[7]]', 7],
      ['[[7]] or [[8]]', undefined],
      ['[7]', undefined],
      ['[[0]]', undefined],
      ['[[11]]', undefined],
    ]));
  test('alpaca-eval', () =>
    expectAll(parseRankingStrict, [
      ["```\n[{'model': 'model_1', 'rank': 2}, {'model': 'model_2', 'rank': 1}]\n```", 2],
      ["[{'model': 'model_1', 'rank': 1}, {'model': 'model_2', 'rank': 1}]", undefined],
      ["[{'model': 'model_1', 'rank': 1}]", undefined],
    ]));
});
