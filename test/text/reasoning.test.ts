// SPDX-License-Identifier: Apache-2.0
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { holdsReasoning, withoutReasoning } from '../../src/text/reasoning.ts';

test('what follows the reasoning is the answer', () => {
  const cases: [string, string][] = [
    ['<think>A? no.</think>B', 'B'],
    ['<think>\nA or [[3]]\n</think>\n\nRating: [[8]]', 'Rating: [[8]]'],
    ['  <THINKING>x</THINKING>\ny', 'y'],
    ['A is tempting, but no.\n</think>\n\nB', 'B'],
    ['<think></think>\n\nB', 'B'],
    ['<think>one</think>\n<think>two</think>\nB', 'B'],
    ['<think>\nhe wrote\n<think>x</think>\nstill thinking</think>B', 'B'],
    ['Let me see.\n<think>A</think>\nB', 'Let me see.\n\nB'],
    ['<think>A</think><answer>B</answer>', 'B'],
    ['<reasoning>A</reasoning>B', 'B'],
    ['<seed:think>A</seed:think>B', 'B'],
    ['[THINK]A[/THINK]B', 'B'],
    ['\u25c1think\u25b7A\u25c1/think\u25b7B', 'B'],
    ['<|begin_of_thought|>A<|end_of_thought|><|begin_of_solution|>B<|end_of_solution|>', 'B'],
    ['<unused94>thought\nA<unused95>B', 'B'],
    ['<|channel|>analysis<|message|>A<|end|><|start|>assistant<|channel|>final<|message|>B<|return|>', 'B'],
  ];
  for (const [text, answer] of cases) assert.equal(withoutReasoning(text), answer, text);
});

test('reasoning that never ends leaves nothing', () => {
  for (const text of ['<think>A or B', 'B\n<think>or rather A', '[THINK] A', '<think>a</think>\n<think>B'])
    assert.equal(withoutReasoning(text), '', text);
});

test('a text without reasoning comes back as it was', () => {
  const texts = [
    '',
    ' B \n',
    'Use the <think> tag, then close it with </think>.',
    '{"comment": "it ends with </think>", "grade": 3}',
    'a < b, [1] and <b>bold</b>',
    'I think so.',
  ];
  for (const text of texts) {
    assert.equal(withoutReasoning(text), text);
    assert.equal(holdsReasoning(text), false);
  }
});

test('megabytes of marks are read in one pass', () => {
  const blocks = '<think>\n'.repeat(300_000);
  assert.equal(withoutReasoning(blocks + '</think>\n'.repeat(300_000)), '');
  assert.equal(withoutReasoning(`${blocks}x`), '');
});
