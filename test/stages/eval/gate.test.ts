// SPDX-License-Identifier: Apache-2.0
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { describeFailure, type GateInput, gate, parseRequirement } from '../../../src/stages/eval/gate.ts';

const rows: GateInput[] = [
  { benchmark: 'pope', split: 'all', score: 85.8, n: 300 },
  { benchmark: 'pope', split: 'adversarial', score: 80, f1: null },
  { benchmark: 'mmvet', split: 'rec.ocr', score: 31.25 },
];
const base = new Map([['base', [{ benchmark: 'pope', split: 'all', score: 86.3 }]]]);
const judge = (text: string) => gate(rows, [parseRequirement(text)], base)[0]!;

test('a requirement in its parts; the split is all unless named', () => {
  assert.deepEqual(parseRequirement(' pope.score>=85 '), {
    text: 'pope.score>=85',
    ...{ benchmark: 'pope', split: 'all', field: 'score', operator: '>=', bound: 85 },
  });
  const { split, field, from } = parseRequirement('mmvet.rec.ocr.score > -1e-3 from round-1');
  assert.deepEqual([split, field, from], ['rec.ocr', 'score', 'round-1']);
});

test('each operator at its bound', () => {
  const passes = ['>= 85.8', '<= 85.8', '> 85.7', '< 85.9'];
  const fails = ['> 85.8', '< 85.8', '>= 85.81', '<= 85.79'];
  for (const rest of passes) assert.equal(judge(`pope.score ${rest}`).pass, true, rest);
  for (const rest of fails) assert.equal(judge(`pope.score ${rest}`).pass, false, rest);
});

test('a difference to a baseline, in figures and not in their last bits', () => {
  const made = judge('pope.all.score >= -0.5 from base');
  assert.equal(made.pass, true);
  assert.equal(made.baseline, 86.3);
  assert.equal(judge('pope.all.score >= -0.4 from base').pass, false);
  assert.equal(
    describeFailure(judge('pope.all.score >= -0.4 from base')),
    'pope.all.score >= -0.4 from base: got -0.5 (85.8; base 86.3)',
  );
});

test('a row, a figure or a baseline row that is absent fails', () => {
  for (const text of ['gqa.score >= 0', 'pope.random.score >= 0', 'pope.recall >= 0', 'pope.adversarial.f1 >= 0']) {
    assert.deepEqual([judge(text).pass, judge(text).value], [false, null], text);
    assert.equal(describeFailure(judge(text)), `${text}: got no such figure`);
  }
  assert.equal(judge('mmvet.rec.ocr.score >= -100 from base').pass, false);
});

test('what is no requirement, an unknown baseline and rows of several models are refused', () => {
  for (const text of ['pope >= 1', 'pope.score = 1', 'pope.score >= x', '.score >= 1', 'pope.score >= 1 from', ''])
    assert.throws(() => parseRequirement(text), /^UsageError: --require: expected BENCHMARK/, text);
  assert.throws(() => judge('pope.score >= 1 from last'), /expected --baseline last=ROWS/);
  const two = ['a', 'b'].map((model) => ({ benchmark: 'pope', split: 'all', model, score: 1 }));
  assert.throws(
    () => gate(two, [parseRequirement('pope.score > 0')], base),
    /expected one row of pope all, got 2 \("a", "b"\)/,
  );
});
