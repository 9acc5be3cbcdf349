// SPDX-License-Identifier: Apache-2.0
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { VprefRecord } from '../../../src/records/record.ts';
import { combineReadings } from '../../../src/stages/annotate/combine.ts';
import { loadGuide } from '../../../src/stages/annotate/guide.ts';
import { planRun } from '../../../src/stages/annotate/plan.ts';
import type { Reading } from '../../../src/stages/annotate/replies/reading.ts';

const twoTurns: VprefRecord['prompt'] = [
  { role: 'user', content: '<image>\nFirst?' },
  { role: 'assistant', content: null },
  { role: 'user', content: 'Second?' },
];

function plan(
  guide: string,
  record: Partial<VprefRecord>,
  options: { seed?: number; run?: number; shuffle?: boolean } = {},
) {
  const row = { record: { id: 'r', prompt: 'Why?', ...record } as VprefRecord, source: 'in.ndjson', line: 7 };
  return planRun(row, loadGuide(guide), { seed: 0, run: 1, shuffle: true, ...options });
}

const four = { responses: ['w', 'x', 'y', 'z'].map((text) => ({ text })) };

test('the order is drawn from seed, id and run alone, and every order comes up', () => {
  assert.deepEqual(plan('helpsteer', four).order, plan('helpsteer', four).order);
  assert.deepEqual(plan('helpsteer', four, { shuffle: false }).order, [0, 1, 2, 3]);
  const seen = new Map<string, number>();
  const draws = 4800;
  for (let index = 0; index < draws; index += 1) {
    const order = plan('helpsteer', { ...four, id: `r${index}` }).order!.join('');
    seen.set(order, (seen.get(order) ?? 0) + 1);
  }
  assert.equal(seen.size, 24);
  // Expected 200 each; 5 standard deviations are about 70.
  for (const [order, count] of seen) assert.ok(Math.abs(count - draws / 24) < 70, `${order}: ${count}`);
  const runs = new Set([1, 2, 3, 4, 5, 6].map((run) => plan('helpsteer', four, { run }).order!.join('')));
  assert.ok(runs.size > 1);
});

test('answers are shown in the drawn order and scores are put back', () => {
  const { order, calls } = plan('helpsteer', four, { seed: 5 });
  const [call] = calls;
  assert.deepEqual(
    call!.answers.map((answer) => answer.text),
    order!.map((index) => 'wxyz'[index]),
  );
  const reading: Reading = {
    scores: call!.answers.map((answer) => ({ code: answer.text.charCodeAt(0) })),
    ownResponse: 'o',
  };
  const entry = combineReadings(four as unknown as VprefRecord, loadGuide('helpsteer'), calls, [reading]);
  assert.deepEqual(
    entry.scores,
    [119, 120, 121, 122].map((code) => ({ code })),
  );
  assert.equal(entry.own_response, 'o');
});

test('mt-bench: a call for each response and turn, the first turn alone, the second with the whole talk', () => {
  const record = {
    images: ['a.png'],
    prompt: twoTurns,
    responses: [
      { text: 'a2', turns: ['a1', 'a2'] },
      { text: 'b2', turns: ['b1'] },
    ],
  };
  const { calls } = plan('mt-bench', record);
  assert.deepEqual(
    calls.map((call) => [call.response, call.turn, (call.variables.answers as { turns: string[] }[])[0]!.turns.join()]),
    [
      [0, 1, 'a1'],
      [0, 2, 'a1,a2'],
      [1, 1, 'b1'],
      [1, 2, 'b1,b2'],
    ],
  );
  assert.deepEqual(
    calls.map((call) => (call.variables.turns as string[]).join()),
    ['First?', 'First?,Second?', 'First?', 'First?,Second?'],
  );
  const readings = [8, 5, 10, 9].map((rating) => ({ scores: [{ rating }] }));
  assert.deepEqual(
    combineReadings({ id: 'r', ...record } as VprefRecord, loadGuide('mt-bench'), calls, readings).scores,
    [
      { rating: 6.5, rating_turn_1: 8, rating_turn_2: 5 },
      { rating: 9.5, rating_turn_1: 10, rating_turn_2: 9 },
    ],
  );
});

test('mt-bench-pair: both orders each turn; agreement decides, disagreement is a tie', () => {
  const record = {
    images: ['a.png'],
    prompt: twoTurns,
    responses: [
      { text: 'a2', turns: ['a1', 'a2'] },
      { text: 'b2', turns: ['b1', 'b2'] },
    ],
  };
  const { calls, order } = plan('mt-bench-pair', record);
  assert.equal(order, undefined);
  assert.deepEqual(
    calls.map((call) => [call.turn, call.order.join()]),
    [
      [1, '0,1'],
      [1, '1,0'],
      [2, '0,1'],
      [2, '1,0'],
    ],
  );
  // Turn 1: the second response wins both games. Turn 2: whoever is shown first wins.
  const readings = [1, 0, 0, 0].map((winner) => ({ winner }));
  assert.deepEqual(
    combineReadings({ id: 'r', ...record } as VprefRecord, loadGuide('mt-bench-pair'), calls, readings).verdict,
    [
      { turn: 1, winner: 1, games: [1, 1] },
      { turn: 2, winner: null, games: [0, 1] },
    ],
  );
});

test('alpaca-eval: two responses, or one against the reference; equal ones tie without a call', () => {
  const pair = plan('alpaca-eval', { responses: [{ text: 'a' }, { text: 'b' }] });
  assert.equal(pair.calls.length, 1);
  const [call] = plan('alpaca-eval', { responses: [{ text: 'a' }], reference: 'base' }).calls;
  assert.deepEqual(call!.answers.map((answer) => answer.text).sort(), ['a', 'base']);
  const equal = plan('alpaca-eval', { responses: [{ text: 'a' }, { text: 'a' }] }).calls;
  assert.deepEqual(equal[0]!.known, { winner: null });
  assert.throws(
    () => plan('alpaca-eval', four),
    /in\.ndjson:7: responses: expected two \(or one and a reference\) to compare, got 4/,
  );
});

test('mmbench-extract: a letter alone needs no judge', () => {
  const record = { choices: ['cat', 'dog'], responses: [{ text: 'B.' }, { text: 'It is a cat' }, { text: 'C' }] };
  assert.deepEqual(
    plan('mmbench-extract', record).calls.map((call) => call.known),
    [{ verdicts: [{ choice: 'B', judged: false }] }, undefined, undefined],
  );
});

test('consistency: the greedy answer is what the others are held against', () => {
  const labelled = { responses: [{ text: 's1' }, { text: 'g', label: 'greedy' }, { text: 's2' }] };
  const shown = (record: Partial<VprefRecord>) =>
    plan('consistency', record).calls.map((call) => [call.response, call.variables.anchor]);
  assert.deepEqual(shown(labelled), [
    [0, 'g'],
    [2, 'g'],
  ]);
  assert.deepEqual(
    shown(four).map(([response]) => response),
    [1, 2, 3],
  );
  const { calls } = plan('consistency', labelled);
  const { scores } = combineReadings({ id: 'r', prompt: '', ...labelled }, loadGuide('consistency'), calls, [
    { scores: [{ q: 1 }] },
    { scores: [{ q: 2 }] },
  ]);
  assert.deepEqual(scores, [{ q: 1 }, null, { q: 2 }]);
});

test('a record without what the guide needs is an error with its place', () => {
  assert.throws(() => plan('helpsteer', { responses: [] }), /in\.ndjson:7: responses: expected at least one response/);
  assert.throws(() => plan('helpsteer', {}), /responses/);
  assert.throws(
    () => plan('mm-vet', { responses: [{ text: 'a' }] }),
    /in\.ndjson:7: reference: expected what guide mm-vet needs, got nothing/,
  );
  const many = { responses: Array.from({ length: 27 }, () => ({ text: 'x' })) };
  assert.throws(() => plan('helpsteer', many), /at most 26 responses, got 27/);
});

test('what a dialogue shows of earlier turns: given answers, its own, and each its own', () => {
  const prompt: VprefRecord['prompt'] = [
    { role: 'user', content: 'U1' },
    { role: 'assistant', content: 'GIVEN' },
    { role: 'user', content: 'U2' },
    { role: 'assistant', content: null },
    { role: 'user', content: 'U3' },
  ];
  const record = {
    prompt,
    reference: 'R',
    responses: [
      { text: 'a2', turns: ['a1', 'a2'] },
      { text: 'b2', turns: ['b1'] },
    ],
  };
  const shown = (guide: string) => plan(guide, record, { shuffle: false }).calls.map(({ variables }) => variables);
  const [first, second] = shown('mt-bench');
  assert.equal(first!.question, 'User: U1\n\nAssistant: GIVEN\n\nUser: U2');
  assert.deepEqual([second!.question, second!.turns], ['U3', [first!.question, 'U3']]);
  const [vet] = shown('mm-vet');
  assert.equal(vet!.question, 'User: U1\n\nAssistant: GIVEN\n\nUser: U2\n\nAssistant: a1\n\nUser: U3');
  assert.deepEqual((vet!.conversation as object[])[3], { role: 'assistant', content: 'a1' });
  const [all] = shown('helpsteer');
  assert.match(String(all!.question), /Assistant: \(each answer's own: turn 1 of it\)\n\nUser: U3$/);
  assert.equal((all!.answers as { text: string }[])[1]!.text, 'Turn 1: b1\n\nTurn 2: b2');
  const short = { ...record, responses: [{ text: 'only' }] };
  assert.throws(
    () => plan('mm-vet', short),
    /responses\[0\]\.turns: expected 1 earlier answer, one per open turn.*got 0/,
  );
});

test('images and their places agree in number, or the row fails', () => {
  const record = { ...four, images: ['a.png'], prompt: 'Is <image> like <image>?' };
  assert.throws(() => plan('helpsteer', record), /images: expected one for each <image> of the prompt \(2\), got 1/);
  const [call] = plan('helpsteer', { ...four, images: ['a', 'b'], prompt: '<image> <image>\nAlike?' }).calls;
  assert.equal(call!.numberImages, true);
  const [first] = plan('helpsteer', { ...four, images: ['a', 'b'], prompt: '<image><image>\nAlike?' }).calls;
  assert.deepEqual([first!.numberImages, first!.variables.question], [false, 'Alike?']);
});
