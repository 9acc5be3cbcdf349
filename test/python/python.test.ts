// SPDX-License-Identifier: Apache-2.0
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { parsePythonJson, pythonLiteral } from '../../src/python/literal.ts';
import { pythonFloat, pythonRound } from '../../src/python/number.ts';
import { numpyMean, numpyRound, numpyStd } from '../../src/python/numpy.ts';
import { type PythonRandom, pythonRandom } from '../../src/python/random.ts';
import { pythonLength, pythonSplit, pythonStrip } from '../../src/python/text.ts';

const golden = JSON.parse(readFileSync(new URL('../../fixtures/golden/eval/python.json', import.meta.url), 'utf8'));

function fromRepr(text: string): number {
  if (text === 'nan') return Number.NaN;
  if (text.endsWith('inf')) return text.startsWith('-') ? Number.NEGATIVE_INFINITY : Number.POSITIVE_INFINITY;
  return Number(text);
}

function shuffled(random: PythonRandom, values: number[]): number[] {
  random.shuffle(values);
  return values;
}

test('float() as CPython', () => {
  for (const [text, value] of golden.float)
    assert.ok(
      Object.is(pythonFloat(text), value === null ? undefined : fromRepr(value)),
      `${JSON.stringify(text)}: expected ${value}, got ${pythonFloat(text)}`,
    );
});

test('round() of floats as CPython, and numpy.round', () => {
  for (const [x, digits, python, numpy, scalar] of golden.round) {
    assert.ok(Object.is(pythonRound(x, digits), fromRepr(python)), `round(${x}, ${digits})`);
    assert.ok(numpyRound(x, digits) === fromRepr(numpy), `numpy.round(${x}, ${digits})`);
    assert.equal(scalar, numpy, 'round() of a numpy float is numpy.round');
  }
});

test('strip, split and len of strings', () => {
  for (const [text, value] of golden.strip) assert.equal(pythonStrip(text), value, JSON.stringify(text));
  for (const [text, value] of golden.split) assert.deepEqual(pythonSplit(text), value, JSON.stringify(text));
  for (const [text, value] of golden.length) assert.equal(pythonLength(text), value, JSON.stringify(text));
});

test('ast.literal_eval', () => {
  for (const [text, value] of golden.literal) {
    const got = pythonLiteral(text);
    if (value === null) assert.equal(got, undefined, JSON.stringify(text));
    else assert.deepEqual(got, value.value, JSON.stringify(text));
  }
});

test('random.Random: seeding by strings and integers, every draw used here', () => {
  for (const expected of golden.random) {
    const random = pythonRandom(expected.seed);
    const values = Array.from({ length: 10 }, (_, k) => k);
    const got = {
      seed: expected.seed,
      random: [random.random(), random.random(), random.random()],
      getrandbits: [1, 2, 7, 31, 32].map((bits) => random.getRandomBits(bits)),
      choice: Array.from({ length: 8 }, () => random.choice([false, true])),
      choices: Array.from({ length: 8 }, () => random.chooseOne([false, true])),
      shuffle: shuffled(random, values),
      sample: random.sample(
        Array.from({ length: 10 }, (_, k) => k),
        4,
      ),
      sample_large: random.sample(
        Array.from({ length: 1000 }, (_, k) => k),
        8,
      ),
    };
    assert.deepEqual(got, expected);
  }
});

test('numpy mean and population standard deviation, to the last bit', () => {
  for (const { values, mean, std } of golden.arrays) {
    assert.equal(numpyMean(values), fromRepr(mean), `mean of ${values.length}`);
    assert.equal(numpyStd(values), fromRepr(std), `std of ${values.length}`);
  }
});

test('json.loads takes NaN and Infinity outside strings', () => {
  assert.deepEqual(parsePythonJson('{"a": [NaN, -Infinity, "NaN \\" Infinity"], "b": Infinity}'), {
    a: [Number.NaN, Number.NEGATIVE_INFINITY, 'NaN " Infinity'],
    b: Number.POSITIVE_INFINITY,
  });
  assert.throws(() => parsePythonJson('{"a": nan}'), SyntaxError);
});
