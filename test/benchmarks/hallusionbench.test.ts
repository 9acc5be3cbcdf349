// SPDX-License-Identifier: Apache-2.0
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { parseYesNoOfficial } from '../../src/benchmarks/hallusionbench/score.ts';
import { evaluateContents } from '../support/evaluate.ts';
import { assertFigures, rowOf } from '../support/figures.ts';
import { importItems, importOne } from '../support/import-stage.ts';

/** A question of HallusionBench.json: "VD chart 1 0 2 3" is category, subcategory, visual input, set, figure, question. */
function question(place: string, truth: string) {
  const [category, subcategory, visual_input, set_id, figure_id, question_id] = place.split(' ');
  return {
    ...{ category, subcategory, visual_input, set_id, figure_id, question_id, question: 'Is it?', gt_answer: truth },
    gt_answer_details: 'It is.',
    filename: visual_input === '0' ? null : `./${category}/${subcategory}/${set_id}_${figure_id}.png`,
  };
}

const PLACES: [place: string, truth: string][] = [
  ['VD math 1 0 0 0', '1'],
  ['VD math 1 0 0 1', '0'],
  ['VD math 2 0 1 0', '0'],
  ['VD math 2 0 1 1', '1'],
  ['VS chart 0 0 0 0', '1'],
  ['VS chart 1 0 1 0', '1'],
  ['VS chart 2 0 2 0', '0'],
];
const QUESTIONS = PLACES.map(([place, truth]) => question(place, truth));
/** VLMEvalKit's index, and ours without the kind of figure. */
const indexOf = (place: string) => place.replaceAll(' ', '_');
const idOf = (place: string) => indexOf(place).replace(/_\d/, '');

test('import: ids by place, the figure or none, what the judge compares with', async () => {
  const record = await importOne('hallusionbench', QUESTIONS[3]!);
  assert.deepEqual(record, {
    id: 'hallusionbench/VD_math_0_1_1',
    images: ['VD/math/0_1.png'],
    prompt: 'Is it?',
    source: 'hallusionbench',
    reference: 'yes',
    context: 'It is.',
    meta: { question_id: 'VD_math_0_1_1', visual_input: '2' },
  });
  assert.equal((await importOne('hallusionbench', QUESTIONS[4]!)).images, undefined);
  const bad = [
    { ...QUESTIONS[0], gt_answer: '2' },
    { ...QUESTIONS[0], set_id: null },
    { ...QUESTIONS[0], filename: null },
  ];
  const { errors } = await importItems('hallusionbench', bad);
  assert.match(errors[0]!, /^f:1: gt_answer: expected 0 \(no\) or 1 \(yes\), got string "2"/);
  assert.match(errors[1]!, /^f:2: set_id: expected a string or a number/);
  assert.match(errors[2]!, /filename: expected a path/);
});

describe('score', () => {
  // codes by question: right right wrong right | unclear wrong right
  const codes = ['1', '1', '0', '1', '2', '0', '1'];
  const judged = QUESTIONS.map((value, k) => ({ ...value, model_prediction: 'x', gpt4v_output_gpt_check: codes[k] }));

  test('a judge: unclear is right for VS without its figure, wrong elsewhere', async () => {
    // right: 1 1 0 1 | 1 0 1: aAcc 5/7.  figures: VD 0 whole, VD 1 half, VS 1 wrong, VS 2 whole (VS 0 is none): fAcc 2/4
    // pairs: VD question 0 {1, 0}, VD question 1 {1, 1}, VS question 0 {1, 0, 1}: qAcc 1/3
    // easy, without edited figures: VD 0 {1}, VD 1 {1}, VS 0 {1, 0}: 2/3.  hard: {0}, {1}, {1}: 2/3
    // yes by outcome: correct == truth, 1=1, 1=0 no, 0=0 yes, 1=1, 1=1, 0=1 no, 1=0 no: 4/7 against 4/7 true yes: 0
    // missed: math 2 0 1 0 (truth 0) and chart 1 0 1 0 (truth 1): 1/2 are no
    const { rows } = await evaluateContents('hallusionbench', { 'HallusionBench_result.json': JSON.stringify(judged) });
    assertFigures(rowOf(rows), {
      ...{ n: 7, score: 500 / 7, a_acc: 500 / 7, f_acc: 50, q_acc: 100 / 3, easy_a_acc: 200 / 3, hard_a_acc: 200 / 3 },
      ...{ consistency_inconsistent: 25, consistency_wrong: 25, yes_diff: 0, yes_fp: 0.5, unparsed: 1 },
    });
    assertFigures(rowOf(rows, 'VS'), { n: 3, score: 200 / 3, f_acc: 50, q_acc: 0 });
    assertFigures(rowOf(rows, 'VD_math'), { n: 4, score: 75, f_acc: 50, q_acc: 50 });
  });

  test('words: exactly one of yes and no; unasked questions without an image are excluded', async () => {
    // yes (right), No. (right), no (right), neither (wrong) | yes (right), yes and no (wrong)
    const texts = ['Yes, it is', 'No.', 'no', 'It is so', 'yes', 'Yes... or no?'];
    const asked = PLACES.filter(([place]) => !place.startsWith('VS chart 0'));
    const answers = asked.map(([place], k) => ({ index: indexOf(place), prediction: texts[k] }));
    const { rows, notes } = await evaluateContents(
      'hallusionbench',
      { 'answers.jsonl': answers },
      { 'HallusionBench.json': JSON.stringify(QUESTIONS) },
    );
    // figures: VD 0 whole, VD 1 half, VS 1 whole, VS 2 wrong: 2/4.  pairs: VD 0 whole, VD 1 half, VS half: 1/3
    assertFigures(rowOf(rows), { n: 6, score: 400 / 6, f_acc: 50, q_acc: 100 / 3, unparsed: 2 });
    assert.match(notes.join(), /no answer to any of the 1 imageless question: "all" excludes them/);
  });

  test('records: words, or the judge of guide hallusionbench; a failed answer takes its figure and pair with it', async () => {
    const records = PLACES.map(([place, truth], k) => ({
      ...{ id: `hallusionbench/${idOf(place)}`, prompt: 'Is it?', reference: truth === '1' ? 'yes' : 'no' },
      meta: { question_id: idOf(place), visual_input: place.split(' ')[2] },
      responses: [k === 0 ? { text: '', finish_reason: 'error' } : { text: truth === '1' ? 'Yes' : 'No' }],
    }));
    const { rows, failed } = await evaluateContents('hallusionbench', { 'r.ndjson': records });
    assertFigures(rowOf(rows), { n: 6, score: 100, f_acc: 100, q_acc: 100, failed: 1 });
    assert.equal(failed, 1);
    const annotated = records.map((record, k) => ({
      ...record,
      responses: [{ text: 'x' }],
      annotations: [
        k === 1
          ? { guide: 'hallusionbench', judge: 'j', run: 1, outcome: 'refused' }
          : { guide: 'hallusionbench', judge: 'j', run: 1, outcome: 'ok', scores: [{ correctness: k === 4 ? 2 : 1 }] },
      ],
    }));
    const { rows: byJudge } = await evaluateContents('hallusionbench', { 'r.ndjson': annotated });
    assertFigures(rowOf(byJudge), { n: 6, score: 100, failed: 1, unparsed: 1 });
  });

  test('an answer that no judge has read needs the truth', async () => {
    const rows = QUESTIONS.map(({ gt_answer, ...value }) => ({ ...value, model_prediction: 'Yes' }));
    await assert.rejects(
      evaluateContents('hallusionbench', { 'sample.json': JSON.stringify(rows) }),
      /sample\.json:1: gt_answer: expected 0 or 1, for answers that no judge has read, got nothing/,
    );
    const odd = [{ ...judged[0], gpt4v_output_gpt_check: '3' }];
    await assert.rejects(
      evaluateContents('hallusionbench', { 'r.json': JSON.stringify(odd) }),
      /gpt4v_output_gpt_check: expected 0 \(incorrect\), 1 \(correct\) or 2 \(unclear\), got string "3"/,
    );
  });
});

test('the words as VLMEvalKit reads them', () => {
  const cases: [string, 'yes' | 'no' | undefined][] = [
    ['Yes.', 'yes'],
    ['No', 'no'],
    ['NO!', 'no'],
    ['yes,no', undefined],
    ['Yes, there is no dog.', undefined],
    ['not yes', 'yes'],
    ['Yes: it is', undefined],
    ['"Yes"', 'yes'],
    ['yes/maybe', 'yes'],
    ['yes/maybe/ so', undefined],
    ['It is 1,000: no,', 'no'],
    ['a_no', 'no'],
    ['', undefined],
    ['know', undefined],
    ['no.5', undefined],
  ];
  for (const [text, expected] of cases) assert.equal(parseYesNoOfficial(text), expected, text);
});
