// SPDX-License-Identifier: Apache-2.0
// Covers src/records/steerlm.ts src/records/claim.ts
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Row } from '../../src/flow/stage.ts';
import type { Annotation, Response, VprefRecord } from '../../src/records/record.ts';
import { repetition } from '../../src/stages/pair/filters.ts';
import { newPairReport, type PairOptions, pair, type RuleName } from '../../src/stages/pair/index.ts';
import type { RuleOptions } from '../../src/stages/pair/rule.ts';
import { describeBias, ShortAnswerCounter, shortAnswer } from '../../src/stages/pair/short-answer-bias.ts';

type Wanted = Partial<Omit<PairOptions, 'rules'>> & { rules?: Partial<RuleOptions> };

const metrics = { helpfulness: 1, correctness: 1, coherence: 1 };

async function run(rule: RuleName, records: Partial<VprefRecord>[], { rules, ...rest }: Wanted = {}) {
  const options: PairOptions = {
    rule,
    imageNegatives: [],
    flip: 0,
    filters: {},
    ...rest,
    rules: {
      scoring: { metrics },
      margin: rule === 'best-of-n' ? 0 : 2,
      ties: 'first',
      finishedOnly: false,
      from: 'reference',
      seed: 0,
      faithful: false,
      ...rules,
    },
  };
  const report = newPairReport();
  async function* rows(): AsyncGenerator<Row> {
    for (const [index, record] of records.entries())
      yield { record: { id: `r${index}`, prompt: 'q', ...record }, source: 'f', line: index + 1 };
  }
  const out: VprefRecord[] = [];
  const dropped: string[] = [];
  const errors: string[] = [];
  for await (const result of pair(options, report)(rows())) {
    out.push(...result.records);
    if (result.error) errors.push(result.error.message);
    else if (result.records.length === 0) dropped.push(result.dropped!);
  }
  return { out, dropped, errors, report };
}

const one = async (rule: RuleName, record: Partial<VprefRecord>, wanted?: Wanted) => {
  const { out, errors, dropped } = await run(rule, [record], wanted);
  assert.deepEqual([errors, dropped], [[], []]);
  assert.equal(out.length, 1);
  return out[0]!;
};
const drop = async (rule: RuleName, record: Partial<VprefRecord>, wanted?: Wanted) =>
  (await run(rule, [record], wanted)).dropped[0];
const failure = async (rule: RuleName, record: Partial<VprefRecord>, wanted?: Wanted) =>
  (await run(rule, [record], wanted)).errors[0];

const answers = (...texts: string[]): Response[] => texts.map((text) => ({ text }));
const viewed = (...pairs: [string, string?][]): Response[] =>
  pairs.map(([text, view]) => ({ text, ...(view !== undefined && { view }) }));

/** An annotation that spreads each sum over the three metrics. */
function graded(sums: (number | null)[], more: Partial<Annotation> = {}): Annotation {
  const scores = sums.map((sum) =>
    sum === null ? null : { helpfulness: sum, correctness: 0, coherence: 0, complexity: 9, verbosity: 9 },
  );
  return { guide: 'helpsteer', judge: 'j', run: 0, outcome: 'ok', scores, ...more };
}
const sampled = (sums: number[], texts = sums.map((_, index) => `t${index}`)): Partial<VprefRecord> => ({
  responses: answers(...texts),
  annotations: [graded(sums)],
});

test('seva: response to the clean image over that to a distorted one; equal texts are dropped', async () => {
  const pairOf = await one('seva', { responses: viewed(['a cat'], ['a dog', 'diffusion']) });
  assert.deepEqual(
    [pairOf.id, pairOf.chosen, pairOf.rejected, pairOf.pair],
    ['r0', 'a cat', 'a dog', { rule: 'seva', view: 'diffusion' }],
  );
  assert.equal(await drop('seva', { responses: viewed(['a cat', 'original'], ['a cat', 'd']) }), 'equal answers');
  // Case and blanks make a difference, as in the published filter.
  assert.equal((await one('seva', { responses: viewed(['a cat'], ['A cat', 'd']) })).rejected, 'A cat');
  assert.equal(await drop('seva', { responses: viewed(['a', 'd']) }), 'no answer to the clean image');
  assert.equal(await drop('seva', { responses: viewed(['a']) }), 'no answer to a distorted image');
  assert.equal(await drop('seva', {}), 'no answer to the clean image');
});

test('seva: one pair per view and sample, or one row with K negatives', async () => {
  const responses = viewed(['c1'], ['c2'], ['x', 'flip'], ['c2', 'flip'], ['y', 'crop'], ['x', 'moco']);
  const { out, report } = await run('seva', [{ responses }]);
  assert.deepEqual(
    out.map(({ id, group, chosen, rejected }) => [id, group, chosen, rejected]),
    [
      ['r0#0', 'r0', 'c1', 'x'],
      ['r0#2', 'r0', 'c1', 'y'],
      ['r0#3', 'r0', 'c1', 'x'],
    ],
  );
  assert.deepEqual([...report.left], [['equal answers', 1]]);
  const many = await one('seva', { responses }, { rules: { negatives: 3 } });
  assert.deepEqual([many.id, many.chosen, many.rejected], ['r0', 'c1', ['x', 'c2', 'y']]);
  assert.deepEqual((await one('seva', { responses }, { rules: { negatives: 1 } })).rejected, ['x']);
  assert.deepEqual((await one('seva', { responses }, { rules: { views: ['crop'] } })).rejected, 'y');
});

test('seva --faithful deletes line breaks after the comparison', async () => {
  const responses = viewed(['a\nb</s>'], ['ab', 'd']);
  const faithful = await one('seva', { responses }, { rules: { faithful: true } });
  assert.deepEqual([faithful.chosen, faithful.rejected], ['ab', 'ab']);
  assert.equal((await one('seva', { responses })).chosen, 'a\nb</s>');
});

test('score: first of the best over one at least the margin below', async () => {
  const scored = await one('score', sampled([7, 9, 9, 7.5]));
  assert.deepEqual([scored.chosen, scored.rejected, scored.chosen_score, scored.rejected_score], ['t1', 't0', 9, 7]);
  assert.deepEqual(scored.pair, { rule: 'score', metrics: Object.keys(metrics), runs: 1, chosen: 1, rejected: 0 });
  assert.equal(await drop('score', sampled([8, 9, 7.5])), 'scores within the margin');
  assert.equal(await drop('score', sampled([5, 5])), 'scores within the margin');
  assert.equal(await drop('score', sampled([5, 5]), { rules: { margin: 0 } }), 'scores within the margin');
  assert.equal(await drop('score', sampled([5])), 'fewer than two scored answers');
  assert.equal(await drop('score', sampled([9, 9, 1]), { rules: { ties: 'drop' } }), 'tie for best');
});

test('score: rejected is drawn uniformly among all that are low enough, by seed and id', async () => {
  const records = Array.from({ length: 3000 }, (_, index) => ({ id: `x${index}`, ...sampled([12, 3, 11, 10, 0]) }));
  const counts: Record<string, number> = {};
  const { out } = await run('score', records);
  for (const { rejected } of out) counts[rejected as string] = (counts[rejected as string] ?? 0) + 1;
  assert.deepEqual(Object.keys(counts).sort(), ['t1', 't3', 't4']);
  // 1000 expected of each, standard deviation 25.8.
  for (const count of Object.values(counts)) assert.ok(Math.abs(count - 1000) < 5 * 25.8, JSON.stringify(counts));
  const reversed = await run('score', [...records].reverse());
  assert.deepEqual(reversed.out.reverse(), out);
  const other = await run('score', records, { rules: { seed: 1 } });
  assert.notDeepEqual(
    other.out.map(({ rejected }) => rejected),
    out.map(({ rejected }) => rejected),
  );
});

test('score: equal texts are no pair unless --faithful; K negatives differ', async () => {
  const same = sampled([9, 1, 1], ['x', 'x', 'x']);
  assert.equal(await drop('score', same), 'equal answers');
  assert.equal((await one('score', same, { rules: { faithful: true } })).rejected, 'x');
  const many = await one('score', sampled([9, 1, 2, 3, 8], ['x', 'y', 'y', 'z', 'w']), { rules: { negatives: 5 } });
  assert.deepEqual([...(many.rejected as string[])].sort(), ['y', 'z']);
  assert.equal((many.rejected_score as number[]).length, 2);
});

test('score --by claims: the fewer doubtful claims, averaged over runs; no claims, no part', async () => {
  const claimed = (lists: number[][], more: Partial<Annotation> = {}): Annotation => ({
    ...{ guide: 'claims', judge: 'j', run: 1, outcome: 'ok' },
    claims: lists.map((list) => list.map((p) => ({ text: 'c', p_yes: p, mass: 1 }))),
    ...more,
  });
  const scoring = { metrics: {}, by: 'claims' as const, doubt: 0.5 };
  const rules = { margin: 1, scoring };
  const responses = answers('one', 'two', 'three', 'none');
  const first = claimed([[0.4, 0.5], [0.9, 0.1], [0.1, 0.2, 0.3], []]);
  // Metrics of another guide are not asked for.
  const annotations = [first, claimed([[0.9], [0.9], [0.1], []], { run: 2 }), graded([1, 2, 3, 4])];
  const row = await one('best-of-n', { responses, annotations }, { rules });
  assert.deepEqual([row.chosen, row.chosen_score, row.rejected, row.rejected_score], ['one', -0.5, 'three', -2]);
  assert.deepEqual(row.pair, { rule: 'best-of-n', by: 'claims', doubt: 0.5, runs: 2, chosen: 0, rejected: 2 });
  const strict = { rules: { margin: 1, scoring: { ...scoring, doubt: 0.05 } } };
  assert.equal(await drop('score', { responses, annotations: [first] }, strict), 'scores within the margin');
  assert.equal(
    await drop('score', { responses, annotations: [graded([1, 2, 3, 4])] }, { rules }),
    'no annotation asked for',
  );
  const alone = claimed([[0.4], [], [], []]);
  assert.equal(await drop('score', { responses, annotations: [alone] }, { rules }), 'fewer than two scored answers');
  assert.match(
    (await failure('score', { responses, annotations: [claimed([[0.4]])] }, { rules }))!,
    /annotations\[0\]\.claims: expected 4 entries, one per response, got 1/,
  );
});

test('scores: runs are averaged, failed ones are ignored, one can be selected; null is no score', async () => {
  const responses = answers('a', 'b', 'c');
  const annotations = [
    graded([9, 3, null], { run: 0 }),
    graded([6, 12, 1], { run: 1, judge: 'k' }),
    { ...graded([0, 0, 0], { run: 2 }), outcome: 'unparsable' as const },
  ];
  const both = await one('score', { responses, annotations });
  assert.deepEqual(
    [both.chosen, both.chosen_score, both.rejected, both.rejected_score, both.pair!.runs],
    ['a', 7.5, 'c', 1, 2],
  );
  const only = await one('best-of-n', { responses, annotations }, { rules: { scoring: { metrics, run: 1 } } });
  assert.deepEqual([only.chosen, only.rejected], ['b', 'c']);
  assert.equal(
    (await one('score', { responses, annotations }, { rules: { scoring: { metrics, judge: 'j' } } })).rejected,
    'b',
  );
  assert.equal(await drop('score', { responses }), 'no annotations');
  assert.equal(await drop('score', { responses, annotations: [annotations[2]!] }), 'judge failed');
  assert.equal(
    await drop('score', { responses, annotations }, { rules: { scoring: { metrics, guide: 'x' } } }),
    'no annotation asked for',
  );
});

test('scores: weights, and thirds that add up to a whole number', async () => {
  const weighted = await one('score', sampled([4, 1]), {
    rules: { scoring: { metrics: { helpfulness: 2, complexity: 0.5 } } },
  });
  assert.deepEqual([weighted.chosen_score, weighted.rejected_score], [12.5, 6.5]);
  // (4 + 4 + 3) / 3 - (2 + 2 + 1) / 3 is 2 but for rounding.
  const annotations = [graded([4, 2], { run: 0 }), graded([4, 2], { run: 1 }), graded([3, 1], { run: 2 })];
  assert.equal((await one('score', { responses: answers('a', 'b'), annotations })).rejected, 'b');
});

test('scores that do not match the responses are an error with its place', async () => {
  const responses = answers('a', 'b');
  assert.equal(
    await failure('score', { responses, annotations: [graded([1, 2, 3])] }),
    'f:1: annotations[0].scores: expected 2 entries, one per response, got 3',
  );
  assert.equal(
    await failure('score', { responses, annotations: [graded([1, 2], { scores: [{ grade: 1 }, null] })] }),
    'f:1: annotations[0].scores[0].helpfulness: expected a number, got nothing; there is grade',
  );
  const { scores: _, ...bare } = graded([]);
  assert.equal(
    await failure('score', { responses, annotations: [bare] }),
    'f:1: annotations[0].scores: expected 2 entries, one per response, got none',
  );
});

test('best-of-n: highest over lowest', async () => {
  const best = await one('best-of-n', sampled([3, 5, 5, 1, 1]));
  assert.deepEqual([best.chosen, best.rejected], ['t1', 't3']);
  const many = await one('best-of-n', sampled([3, 5, 4, 1]), { rules: { negatives: 2 } });
  assert.deepEqual(
    [many.rejected, many.rejected_score],
    [
      ['t3', 't0'],
      [1, 3],
    ],
  );
});

test('steerlm: every graded answer, its grades in the last user turn', async () => {
  const grades = { helpfulness: 4, correctness: 3, coherence: 4, complexity: 1, verbosity: 2 };
  const annotations = [
    { ...graded([]), scores: [grades, null] },
    { ...graded([]), run: 1, scores: [{ ...grades, verbosity: 3 }, null] },
  ];
  const record = { responses: answers('a', 'b'), annotations, chosen: 'old', ref_chosen_logps: -1 };
  const { out } = await run('steerlm', [record]);
  const request =
    'Please answer the question such that your response is in the following attributes in 5-point Likert scale:\n' +
    'Helpfulness:4,Correctness:3,Coherence:4,Complexity:1,Verbosity:3';
  assert.deepEqual(
    out.map(({ id, group, prompt, response, chosen, ref_chosen_logps: logps }) => [
      id,
      group,
      prompt,
      response,
      chosen,
      logps,
    ]),
    [['r0#0', 'r0', `q\n${request}`, 'a', undefined, undefined]],
  );
  const prompt: VprefRecord['prompt'] = [
    { role: 'user', content: [{ type: 'image' }, { type: 'text', text: 'q' }] },
    { role: 'assistant', content: null },
  ];
  const parts = await run('steerlm', [{ ...record, prompt }]);
  assert.deepEqual(parts.out[0]!.prompt, [
    { role: 'user', content: [{ type: 'image' }, { type: 'text', text: 'q' }, { type: 'text', text: `\n${request}` }] },
    { role: 'assistant', content: null },
  ]);
});

test('sft: the reference, the judge, or the best answer', async () => {
  assert.equal((await one('sft', { reference: ['first', 'second'] })).response, 'first');
  assert.equal(await drop('sft', {}), 'no reference');
  const judged = { ...sampled([11, 12]), annotations: [graded([11, 12], { own_response: 'mine' })] };
  assert.equal((await one('sft', judged, { rules: { from: 'judge' } })).response, 'mine');
  assert.equal(await drop('sft', sampled([1, 2]), { rules: { from: 'judge' } }), 'no answer by the judge');
  const best = await one('sft', judged, { rules: { from: 'best', minScore: 12 } });
  assert.deepEqual(
    [best.response, best.pair],
    ['t1', { rule: 'sft', from: 'best', response: 1, score: 12, metrics: Object.keys(metrics) }],
  );
  assert.equal(await drop('sft', sampled([11, 3]), { rules: { from: 'best', minScore: 12 } }), 'best score too low');
});

test('kto: out of pairs, of scores against the best, of scores against a threshold', async () => {
  const labels = async (record: Partial<VprefRecord>, wanted?: Wanted) =>
    (await run('kto', [record], wanted)).out.map(({ id, response, label }) => [id, response, label]);
  const ref = { model: 'm' };
  const known = { chosen: 'c', rejected: ['x', 'y'], ref_chosen_logps: -1, ref_rejected_logps: [-2, -3], ref };
  const { out } = await run('kto', [known]);
  assert.deepEqual(
    out.map(({ id, response, label, ref_response_logps: logps, chosen }) => [id, response, label, logps, chosen]),
    [
      ['r0#0', 'c', true, -1, undefined],
      ['r0#1', 'x', false, -2, undefined],
      ['r0#2', 'y', false, -3, undefined],
    ],
  );
  assert.deepEqual(out[0]!.ref, ref);
  assert.deepEqual(await labels(sampled([3, 9, 8, 7])), [
    ['r0#0', 't0', false],
    ['r0#1', 't1', true],
    ['r0#3', 't3', false],
  ]);
  assert.deepEqual(await labels(sampled([3, 9]), { rules: { threshold: 9 } }), [
    ['r0#0', 't0', false],
    ['r0#1', 't1', true],
  ]);
});

test('given keeps pairs and all that belongs to them; --negatives cuts lists together', async () => {
  const record = { chosen: 'c', rejected: ['x', 'y'], ref_chosen_logps: -1, ref_rejected_logps: [-2, -3], extra: 1 };
  assert.deepEqual(await one('given', record), { id: 'r0', prompt: 'q', ...record, pair: { rule: 'given' } });
  const cut = await one('given', record, { rules: { negatives: 1 } });
  assert.deepEqual([cut.rejected, cut.ref_rejected_logps], [['x'], [-2]]);
  assert.equal(
    await failure('given', { rejected: 'x' }),
    'f:1: chosen: expected an answer (--rule given takes pairs that are there), got nothing',
  );
});

test('other rules remove stale fields and keep the rest', async () => {
  const stale = {
    ref_chosen_logps: -1,
    ref: { model: 'm' },
    policy_rejected_logps: -2,
    response: 'r',
    label: true,
    meta: { a: 1 },
  };
  const fresh = await one('score', { ...sampled([9, 1]), ...stale });
  for (const field of ['ref_chosen_logps', 'ref', 'policy_rejected_logps', 'response', 'label'])
    assert.ok(!(field in fresh), field);
  assert.deepEqual(fresh.meta, { a: 1 });
  assert.equal(fresh.responses!.length, 2);
});

test('--flip swaps about the given share, with scores and log-probs, by seed and id', async () => {
  const record = {
    chosen: 'c',
    rejected: 'r',
    chosen_score: 9,
    rejected_score: 1,
    ref_chosen_logps: -1,
    ref_rejected_logps: -2,
  };
  const records = Array.from({ length: 4000 }, () => record);
  const { out, report } = await run('given', records, { flip: 0.25 });
  // 1000 expected, standard deviation 27.4.
  assert.ok(Math.abs(report.flipped - 1000) < 5 * 27.4, String(report.flipped));
  const flipped = out.filter(({ pair }) => pair!.flipped);
  assert.equal(flipped.length, report.flipped);
  for (const row of flipped) {
    assert.deepEqual([row.chosen, row.rejected, row.chosen_score, row.rejected_score], ['r', 'c', 1, 9]);
    assert.deepEqual([row.ref_chosen_logps, row.ref_rejected_logps], [-2, -1]);
  }
  const all = await run('given', [{ chosen: 'c', rejected: ['x', 'y'] }], { flip: 1 });
  assert.deepEqual([all.out[0]!.chosen, ...(all.out[0]!.rejected as string[])].sort(), ['c', 'x', 'y']);
  assert.notEqual(all.out[0]!.chosen, 'c');
  assert.deepEqual(
    (await run('kto', [{ chosen: 'c', rejected: 'r' }], { flip: 1 })).out.map(({ label }) => label),
    [false, true],
  );
});

test('--image-negatives: one set, several sets, and what is missing', async () => {
  const views = [
    { name: 'crop', ops: [{ op: 'crop' }], seed: 1, images: ['v/a.png'] },
    { name: 'blur', ops: [{ op: 'blur' }], seed: 1, images: ['v/b.png'] },
    { name: 'noise', ops: [{ op: 'diffusion', step: 500 }], seed: 1 },
  ];
  const record = { chosen: 'c', rejected: 'r', views };
  const negatives = async (...imageNegatives: string[]) =>
    (await one('given', record, { imageNegatives })).rejected_images;
  assert.deepEqual(await negatives('blur'), ['v/b.png']);
  assert.deepEqual(await negatives('crop', 'blur'), [['v/a.png'], ['v/b.png']]);
  assert.equal(
    await failure('given', record, { imageNegatives: ['flip'] }),
    'f:1: views: expected a view "flip" for --image-negatives, got "crop", "blur", "noise"',
  );
  assert.equal(
    await failure('given', record, { imageNegatives: ['noise'] }),
    'f:1: views[2].images: expected image files for --image-negatives (augment --image-dir, or augment --replay --image-dir, writes them), got a recipe without files',
  );
});

test('filters: length, length ratio, repetition; of several negatives the good ones stay', async () => {
  const pairOf = (chosen: string, rejected: string | string[]) => ({
    chosen,
    rejected,
    rejected_score: [rejected].flat().map((_, i) => i),
  });
  assert.equal(await drop('given', pairOf('ab', 'abcd'), { filters: { minLength: 3 } }), 'too short');
  assert.equal(await drop('given', pairOf('abcd', 'ab'), { filters: { maxLength: 3 } }), 'too long');
  assert.equal(
    await drop('given', pairOf('abcdefg', 'ab'), { filters: { maxLengthRatio: 3 } }),
    'lengths too different',
  );
  assert.equal((await one('given', pairOf('abcdef', 'ab'), { filters: { maxLengthRatio: 3 } })).rejected, 'ab');
  const loop = 'the cat is on the mat and '.repeat(6);
  assert.equal(
    await drop('given', pairOf('a fine answer', loop), { filters: { maxRepetition: 0.3 } }),
    'repeats itself',
  );
  const kept = await one('given', pairOf('abc', ['a', 'abcd', loop]), { filters: { minLength: 2, maxLength: 20 } });
  assert.deepEqual([kept.rejected, kept.rejected_score], [['abcd'], [1]]);
  assert.equal(await drop('sft', { reference: 'x' }, { filters: { minLength: 2 } }), 'too short');
});

test('repetition is the share of 4-word runs that come again', () => {
  assert.equal(repetition('one two three four five'), 0);
  assert.equal(repetition('one'), 0);
  // 8 words in 5 runs: a b c d, b c d a, c d a b, d a b c, a b c d.
  assert.equal(repetition('a b c d a b C D'), 1 - 4 / 5);
});

test('failed, unfinished and differently labelled responses are excluded', async () => {
  const responses: Response[] = [
    { text: 'cut', finish_reason: 'length', label: 'a' },
    { text: 'good', finish_reason: 'stop', label: 'a' },
    { text: '', finish_reason: 'error', label: 'a' },
    { text: 'theirs', label: 'b' },
    { text: 'bad', label: 'a' },
  ];
  const record = { responses, annotations: [graded([9, 8, 0, 7, 1])] };
  assert.deepEqual((await one('best-of-n', record)).pair!.rejected, 4);
  assert.equal((await one('best-of-n', record)).chosen, 'cut');
  assert.equal((await one('best-of-n', record, { rules: { finishedOnly: true } })).chosen, 'good');
  assert.equal(await drop('best-of-n', record, { rules: { label: 'b' } }), 'fewer than two scored answers');
});

test('shortAnswer takes yes and no at the start, and whole short answers', () => {
  assert.deepEqual(
    [
      'Yes, it is a long answer about cats.',
      'no',
      '"No" is right',
      'Nothing',
      'Notable things are on the long table',
      ' Red. ',
      '',
    ].map(shortAnswer),
    ['yes', 'no', 'no', 'nothing', undefined, 'red', undefined],
  );
});

test('a significant bias to a short answer is reported, and --balance removes it', async () => {
  const yes = Array.from({ length: 60 }, () => ({ chosen: 'Yes, a cat.', rejected: 'No, a dog.' }));
  const no = Array.from({ length: 20 }, () => ({ chosen: 'No.', rejected: 'Yes.' }));
  const other = Array.from({ length: 20 }, (_, index) => ({
    chosen: `It shows ${index} cats on a mat.`,
    rejected: 'It shows nothing of that kind.',
  }));
  const all = [...yes, ...other, ...no];
  const { report } = await run('given', all);
  const [lean] = report.shortAnswers.biases();
  assert.equal(describeBias(lean!), 'short-answer bias to "yes": 60.0 % of chosen, 20.0 % of rejected responses');
  const whole = { balance: true, limits: [], seed: 0 };
  const balanced = await run('given', all, { whole });
  assert.deepEqual(balanced.report.shortAnswers.biases(), []);
  assert.deepEqual(
    balanced.dropped,
    Array.from({ length: 40 }, () => 'balance'),
  );
  assert.equal(balanced.out.length, 60);
  const few = new ShortAnswerCounter();
  for (let index = 0; index < 5; index++) few.add({ id: 'x', prompt: 'q', chosen: 'yes', rejected: 'no' });
  assert.deepEqual(few.biases(), []);
});

test('--max-pairs draws by source and in all, in input order', async () => {
  const records = Array.from({ length: 90 }, (_, index) => ({
    id: `p${index}`,
    source: `llava/${['a', 'b', 'c'][index % 3]}`,
    chosen: 'c',
    rejected: 'r',
  }));
  const draw = async (limits: { source?: string; count: number }[]) =>
    (await run('given', records, { whole: { balance: false, limits, seed: 0 } })).out;
  const out = await draw([
    { source: 'a', count: 7 },
    { source: 'b', count: 0 },
  ]);
  const bySource = (name: string) => out.filter(({ source }) => source === `llava/${name}`).length;
  assert.deepEqual([bySource('a'), bySource('b'), bySource('c')], [7, 0, 30]);
  assert.equal((await draw([{ count: 11 }])).length, 11);
  const places = out.map(({ id }) => Number(id.slice(1)));
  assert.deepEqual(
    places,
    [...places].sort((x, y) => x - y),
  );
});

const ladder = (sums: Record<string, number>, texts: Record<string, string> = {}): Partial<VprefRecord> => ({
  responses: Object.entries(sums).map(([view, logps]): Response => {
    return { text: texts[view] ?? `answer to ${view}`, view, logps_original: logps };
  }),
});
const band = (low: number, high: number, more: Partial<RuleOptions> = {}) => ({
  rules: { gap: { low, high }, ...more },
});

test('gap: the nearest answer within the band below the chosen one', async () => {
  const record = ladder({ original: -5, weak: -5.5, middle: -8, strong: -30 });
  const made = await one('gap', record, band(1, 10));
  assert.equal(made.chosen, 'answer to original');
  assert.equal(made.rejected, 'answer to middle');
  assert.deepEqual(made.pair, { rule: 'gap', view: 'middle', gap: 3 });
  assert.equal((await one('gap', record, band(3, 3))).rejected, 'answer to middle');
  assert.equal((await one('gap', record, band(0.1, 99))).rejected, 'answer to weak');
  assert.equal(await drop('gap', record, band(26, 99)), 'no answer within --gap');
  // An answer that the model prefers to its own lies above: a negative gap.
  assert.equal((await one('gap', ladder({ original: -5, weak: -2 }), band(-9, -1))).rejected, 'answer to weak');
});

test('gap: K negatives, equal answers once, and the weight', async () => {
  const texts = { original: 'a', weak: 'a', middle: 'b', strong: 'b' };
  const record = ladder({ original: -5, weak: -5, middle: -8, strong: -9, blur: -11 }, texts);
  const made = await one('gap', record, band(1, 10, { negatives: 3, weightBy: 'gap' }));
  assert.deepEqual(made.rejected, ['b', 'answer to blur']);
  assert.deepEqual(made.pair, { rule: 'gap', view: ['middle', 'blur'], gap: [3, 6], weight_by: 'gap' });
  assert.equal(made.weight, 4.5);
  // Another rule takes the weight of these negatives out again, and leaves a weight of the user's own.
  assert.equal((await one('seva', { ...made, ...ladder({ original: -1, d: -2 }) })).weight, undefined);
  assert.equal((await one('seva', { weight: 2, ...ladder({ original: -1, d: -2 }) })).weight, 2);
});

test('gap: missing fields, and the note', async () => {
  assert.equal(await drop('gap', ladder({ weak: -1 }), band(1, 2)), 'no answer to the clean image');
  assert.equal(await drop('gap', ladder({ original: -1 }), band(1, 2)), 'no other answer to a view');
  assert.equal(
    await failure('gap', { responses: [{ text: 'a' }, { text: 'b', view: 'd', logps_original: -1 }] }, band(1, 2)),
    'f:1: responses[0].logps_original: expected a number (score --view original writes it), got nothing',
  );
  const records = [
    ladder({ original: 0, weak: -2 }),
    ladder({ original: 0, weak: -4 }),
    ladder({ original: 0, d: -3 }),
  ];
  const { report } = await run('gap', records, band(1, 9));
  assert.equal(report.gaps.describe(), 'weak 2, d 1; gaps 2.00 to 4.00 nats, median 3.00');
});
