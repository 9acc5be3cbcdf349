// SPDX-License-Identifier: Apache-2.0
// Judged, scored and sampled records: what the annotations and log-probs of our own stages become.
// Covers src/benchmarks/consistency/score.ts src/benchmarks/rewards/score.ts src/benchmarks/length/score.ts src/benchmarks/hallucination/score.ts
// Covers src/benchmarks/scoring/objects.ts src/benchmarks/scoring/answers.ts src/benchmarks/scoring/join.ts src/benchmarks/scoring/choice.ts src/benchmarks/scoring/score-row.ts
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { buildVocabulary, objectFinder, pluralOf } from '../../src/benchmarks/scoring/objects.ts';
import { evaluateContents } from '../support/evaluate.ts';

const near = (got: unknown, expected: number) =>
  assert.ok(Math.abs((got as number) - expected) < 1e-12, `expected ${expected}, got ${got}`);

function judged(id: string, entries: object[], more: object = {}) {
  return { id, images: [`${id}.jpg`], prompt: 'What?', responses: [{ text: 'A dog.' }], annotations: entries, ...more };
}

const entry = (guide: string, fields: object, run = 1) => ({ guide, judge: 'j', run, outcome: 'ok', ...fields });
const failure = (guide: string, outcome: string, run = 1) => ({ guide, judge: 'j', run, outcome });

describe('judged records', () => {
  test('mm-vet: runs, capabilities, a failed call left out', async () => {
    const grade = (run: number, value: number) => entry('mm-vet', { scores: [{ grade: value }] }, run);
    const records = [
      judged('mmvet/v1_0', [grade(1, 0.5), grade(2, 1)], { meta: { question_id: 'v1_0', capability: ['ocr', 'rec'] } }),
      judged('mmvet/v1_1', [grade(1, 0.2), failure('mm-vet', 'refused', 2)], {
        meta: { question_id: 'v1_1', capability: ['rec'] },
      }),
    ];
    const { rows, failed } = await evaluateContents('mmvet', { 'in.ndjson': records });
    const all = rows.at(-1)!;
    // run 1: (0.5 + 0.2) / 2; run 2: 1 alone
    near((all.runs as number[])[0], 35);
    near((all.runs as number[])[1], 100);
    near(all.score, 67.5);
    assert.equal(failed, 1);
    assert.equal(rows.find(({ split }) => split === 'combination:rec+ocr')!.n, 1);
  });
  test('llava-bench: reference and answer scores by category', async () => {
    const records = [
      judged('1', [entry('llava-bench', { scores: [{ reference_score: 8, score: 6 }] })], {
        meta: { category: 'conv' },
      }),
      judged('2', [entry('llava-bench', { scores: [{ reference_score: 10, score: 9 }] })], {
        meta: { category: 'complex' },
      }),
      judged('3', [failure('llava-bench', 'unparsable')], { meta: { category: 'conv' } }),
    ];
    const { rows, failed } = await evaluateContents('llava-bench', { 'in.ndjson': records });
    assert.deepEqual(
      rows.map(({ split, n, printed }) => [split, n, printed]),
      [
        ['complex', 1, 90],
        ['conv', 1, 75],
        ['all', 2, 83.3],
      ],
    );
    assert.equal(failed, 1);
  });
  test('mt-bench: turns of each label', async () => {
    const prompt = [
      { role: 'user', content: 'a' },
      { role: 'assistant', content: null },
      { role: 'user', content: 'b' },
    ];
    const responses = [
      { text: 'x', turns: ['w'], label: 'dpo' },
      { text: 'y', turns: ['v'], label: 'base' },
    ];
    const scores = [
      { rating: 8, rating_turn_1: 9, rating_turn_2: 7 },
      { rating: 5, rating_turn_1: 4, rating_turn_2: 6 },
    ];
    const record = judged('mt-bench/81', [entry('mt-bench', { scores })], {
      prompt,
      responses,
      meta: { category: 'stem' },
    });
    const { rows } = await evaluateContents('mt-bench', { 'in.ndjson': [record] });
    assert.deepEqual(
      rows.map(({ split, model, score }) => [split, model, score]),
      [
        ['turn-1', 'dpo', 9],
        ['turn-2', 'dpo', 7],
        ['stem', 'dpo', 8],
        ['all', 'dpo', 8],
        ['turn-1', 'base', 4],
        ['turn-2', 'base', 6],
        ['stem', 'base', 5],
        ['all', 'base', 5],
      ],
    );
  });
  test('mt-bench-pair: agreement over two games, ties, errors', async () => {
    const responses = [
      { text: 'x', label: 'dpo' },
      { text: 'y', label: 'base' },
    ];
    const pair = (id: string, games: (number | null)[]) =>
      judged(id, [entry('mt-bench-pair', { verdict: [{ turn: 1, winner: null, games }] })], { responses });
    const records = [
      pair('1', [0, 0]),
      pair('2', [0, 1]),
      pair('3', [null, null]),
      pair('4', [1, 1]),
      pair('5', [0, 0]),
    ];
    const failed = judged('6', [failure('mt-bench-pair', 'transport')], { responses });
    const evaluation = await evaluateContents('mt-bench', { 'in.ndjson': [...records, failed] });
    const { wins, ties, losses, score } = evaluation.rows.find(({ model }) => model === 'dpo')!;
    assert.deepEqual([wins, ties, losses, score], [2, 2, 1, 60]);
    assert.equal(evaluation.failed, 1);
  });
  test('alpaca-eval: against the reference or a second response', async () => {
    const verdict = (winner: number | null) => [
      entry('alpaca-eval', { verdict: [{ turn: 1, winner, games: [winner] }] }),
    ];
    const records = [
      judged('a/0', verdict(0), { prompt: 'one', reference: 'r' }),
      judged('a/1', verdict(1), { prompt: 'two', reference: 'r' }),
      judged('a/2', verdict(null), { prompt: 'three', reference: 'r' }),
      judged('a/3', [failure('alpaca-eval', 'empty')], { prompt: 'four', reference: 'r' }),
    ];
    const { rows, failed } = await evaluateContents('alpaca-eval', { 'in.ndjson': records });
    const { n, score, n_wins, n_wins_base, n_draws } = rows.at(-1)!;
    assert.deepEqual([n, score, n_wins, n_wins_base, n_draws, failed], [3, 50, 1, 1, 1, 1]);
  });
  test('consistency: by temperature, from labels or the sampling', async () => {
    const scores = [null, { q_consistency: 8, a_consistency: 6 }, { q_consistency: 4, a_consistency: 2 }];
    const responses = ['greedy', 't0.2', 't=0.9'].map((label) => ({ text: label, label }));
    const records = [judged('1', [entry('consistency', { scores })], { responses })];
    const { rows } = await evaluateContents('consistency', { 'in.ndjson': records });
    assert.deepEqual(
      rows.map(({ split, q_consistency, a_consistency, score }) => [split, q_consistency, a_consistency, score]),
      [
        ['temperature=0.2', 8, 6, 7],
        ['temperature=0.9', 4, 2, 3],
        ['all', 6, 4, 5],
      ],
    );
  });
  test('shr: sentences judged by our guide', async () => {
    const sentences = ['hallucination', 'correct', 'cannot judge'].map((label, k) => ({
      text: `Sentence ${k}`,
      label,
    }));
    const record = judged('1', [
      entry('shr', { scores: [{ hallucinated: 1, sentences: 3 }], verdict: [{ sentences }] }),
    ]);
    const { rows } = await evaluateContents('shr', { 'in.ndjson': [record] });
    assert.deepEqual([rows[0]!.score, rows[0]!.hal_sents_ratio, rows[0]!.sents_per_image], [33.3, 0.333, 3]);
  });
  test('mmbench: a judge reads what the rules cannot', async () => {
    const record = {
      ...judged('mmbench/1', [entry('mmbench-extract', { verdict: [{ choice: 'B' }] })]),
      responses: [{ text: 'the feline animal of the two' }],
      choices: ['dog', 'cat'],
      reference: 'B',
    };
    const { rows } = await evaluateContents('mmbench', { 'in.ndjson': [record] });
    assert.equal(rows.at(-1)!.score, 100);
    const { rows: alone } = await evaluateContents('mmbench', { 'in.ndjson': [{ ...record, annotations: [] }] });
    assert.deepEqual([alone.at(-1)!.score, alone.at(-1)!.unparsed], [0, 1]);
  });
  test('two judges are not averaged; one is chosen', async () => {
    const meta = { capability: ['rec'] };
    const two = ['gpt-4', 'gemini'].map((judge, k) => ({ ...entry('mm-vet', { scores: [{ grade: k }] }), judge }));
    const files = { 'in.ndjson': [judged('v1_0', two, { meta })] };
    await assert.rejects(
      evaluateContents('mmvet', files),
      /in\.ndjson:1: annotations: expected one judge .*gpt-4 and gemini/,
    );
    const { rows } = await evaluateContents('mmvet', files, {}, { judge: 'gemini' });
    assert.equal(rows.at(-1)!.score, 100);
  });
  test('records that were not judged, or by another guide', async () => {
    const record = judged('v1_0', [entry('helpsteer', { scores: [{ helpfulness: 1 }] })], {
      meta: { capability: ['rec'] },
    });
    await assert.rejects(
      evaluateContents('mmvet', { 'in.ndjson': [record] }),
      /in\.ndjson:1: annotations: expected an entry of guide mm-vet, got other entries/,
    );
  });
});

describe('responses', () => {
  const label = [{ question_id: 1, image: 'a', text: 'q', label: 'yes' }];
  const record = (responses: object[]) => [
    { id: 'pope/random/1', prompt: 'q', meta: { question_id: '1', split: 'random' }, responses },
  ];
  const labels = { 'coco_pope_random.json': label };
  test('each label is a model; --label and --view choose', async () => {
    const files = {
      'in.ndjson': record([
        { text: 'Yes', label: 'seva' },
        { text: 'No', label: 'base' },
        { text: 'No', label: 'seva', view: 'diffusion' },
      ]),
    };
    const { rows } = await evaluateContents('pope', files, labels);
    assert.deepEqual(
      rows.filter(({ split }) => split === 'all').map(({ model, score }) => [model, score]),
      [
        ['seva', 100],
        ['base', 0],
      ],
    );
    const { rows: view } = await evaluateContents('pope', files, labels, { label: 'seva', view: 'diffusion' });
    assert.deepEqual([view.length, view[0]!.tp, view[0]!.fn], [2, 0, 1]);
  });
  test('several samples of one label: --response', async () => {
    const files = { 'in.ndjson': record([{ text: 'No' }, { text: 'Yes' }]) };
    await assert.rejects(
      evaluateContents('pope', files, labels),
      /responses: expected one response to score \(--response N picks one\), got 2/,
    );
    const { rows } = await evaluateContents('pope', files, labels, { response: 1 });
    assert.equal(rows[0]!.tp, 1);
  });
  test('failed rows are counted, not scored', async () => {
    const failed = [
      {
        id: 'pope/random/1',
        prompt: 'q',
        meta: { question_id: '1', split: 'random' },
        error: { stage: 'sample', code: 'image', message: 'm' },
      },
    ];
    const { rows, failed: count } = await evaluateContents('pope', { 'in.ndjson': failed }, labels);
    assert.deepEqual([rows[0]!.n, rows[0]!.failed, rows[0]!.score, count], [0, 1, null, 1]);
  });
  test('seed-bench by likelihood: the choice with the highest log-prob', async () => {
    const choice = (id: string, reference: string, choice_logps: number[]) => ({
      id,
      prompt: 'q',
      choices: ['a', 'b', 'c', 'd'],
      reference,
      choice_logps,
    });
    const records = [choice('1', 'B', [-9, -2, -4, -5]), choice('2', 'A', [-3, -1, -8, -9])];
    const { rows } = await evaluateContents('seed-bench', { 'in.ndjson': records });
    assert.equal(rows.at(-1)!.score, 50);
  });
});

test("rewards: TRL's figures, several negatives", async () => {
  const pair = (id: string, chosen: number, rejected: number | number[], refRejected: number | number[]) => ({
    id,
    prompt: 'q',
    policy_chosen_logps: chosen,
    policy_rejected_logps: rejected,
    ref_chosen_logps: -10,
    ref_rejected_logps: refRejected,
  });
  const records = [pair('1', -8, -12, -11), pair('2', -11, -9, -10), pair('3', -9, [-12, -8], [-10, -10])];
  const { rows } = await evaluateContents('rewards', { 'in.ndjson': records });
  const row = rows[0]!;
  // log-ratios: 2 against -1; -1 against 1; 1 against -2 and 2. beta 0.1
  near(row['rewards/chosen'], 0.1 * ((2 - 1 + 1) / 3));
  near(row['rewards/rejected'], 0.1 * ((-1 + 1 + 0) / 3));
  near(row['rewards/margins'], 0.1 * ((3 - 2 + 1) / 3));
  near(row['rewards/accuracies'], (1 + 0 + 0.5) / 3);
  near(row['logps/rejected'], (-12 - 9 - 10) / 3);
  const losses = [Math.log1p(Math.exp(-0.3)), Math.log1p(Math.exp(0.2)), Math.log1p(Math.exp(-0.3) + Math.exp(0.1))];
  near(row.loss, (losses[0]! + losses[1]! + losses[2]!) / 3);
  await assert.rejects(
    evaluateContents('rewards', { 'in.ndjson': [{ ...records[0], ref_chosen_logps: undefined }] }),
    /in\.ndjson:1: ref_chosen_logps: expected a log-prob \(written by precompute-ref\), got nothing/,
  );
});

test('length: code points, words, tokens', async () => {
  const record = (id: string, text: string, num_tokens: number) => ({
    id,
    prompt: 'q',
    responses: [{ text, num_tokens }],
  });
  const { rows } = await evaluateContents('length', {
    'in.ndjson': [record('1', 'a \u{1f600} b', 5), record('2', 'one  two\nthree four', 6), record('3', '', 0)],
  });
  const { score, words_median, characters, tokens, empty } = rows[0]!;
  assert.deepEqual([score, words_median, characters, tokens, empty], [7 / 3, 3, 24 / 3, 11 / 3, 1]);
});

describe('named objects', () => {
  test('plurals', () => {
    const plurals = {
      dog: 'dogs',
      bus: 'buses',
      box: 'boxes',
      butterfly: 'butterflies',
      boy: 'boys',
      knife: 'knives',
      'stop sign': 'stop signs',
      fireman: 'firemen',
      sheep: 'sheep',
      'wine glass': 'wine glasses',
    };
    for (const [one, many] of Object.entries(plurals)) assert.equal(pluralOf(one), many);
  });
  test('longest name first, each once, whole words, not words in capitals', () => {
    const find = objectFinder(buildVocabulary(['car', 'traffic light', 'light', 'dog'], new Map([['puppy', 'dog']])));
    assert.deepEqual(find('Two puppies, a Dog and a traffic light by the cars. The word CAR. A carpet.'), [
      'dog',
      'traffic light',
      'car',
    ]);
  });
  test('synonyms from a side table', async () => {
    const labels = { 'captions.jsonl': [{ question_id: 1, objects: ['dog', 'car'] }] };
    const answers = { 'a.jsonl': [{ question_id: 1, text: 'A puppy and a sofa.' }] };
    const { rows } = await evaluateContents('hallucination', answers, labels);
    assert.deepEqual([rows[0]!.chair_i, rows[0]!.recall, rows[0]!.unparsed], [0, 0, 1]);
    const tables = { 'synonyms.txt': 'dog, puppy\ncouch, sofa\n' };
    const { rows: known } = await evaluateContents('hallucination', answers, labels, { tables });
    assert.deepEqual([known[0]!.chair_i, known[0]!.recall, known[0]!.score], [0.5, 0.5, 50]);
  });
});
