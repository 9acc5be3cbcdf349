// SPDX-License-Identifier: Apache-2.0
// Every scorer on a handful of rows whose figures are worked out in the comments, one rule of the official scripts a test.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { evaluateContents } from '../support/evaluate.ts';
import { assertFigures, near, rowOf } from '../support/figures.ts';

describe('pope', () => {
  const labels = (answers: string) =>
    [...answers].map((answer, k) => ({
      question_id: k + 1,
      image: `${k}.jpg`,
      text: `Is there a thing ${k} in the image?`,
      label: answer === 'y' ? 'yes' : 'no',
    }));
  const answersTo = (texts: string[]) => texts.map((text, k) => ({ question_id: k + 1, text }));

  test('accuracy, precision, recall, F1 and yes ratio, yes the positive class', async () => {
    // labels y y y y n n n; answers: yes yes yes no | yes no no
    // TP = 3, FN = 1, FP = 1, TN = 2: accuracy 5/7, precision 3/4, recall 3/4, F1 = 2 x 9/16 / (3/2) = 3/4, yes 4/7
    const { rows } = await evaluateContents(
      'pope',
      { 'a.jsonl': answersTo(['Yes', 'yes', 'Yes, two.', 'No', 'Yes', 'No.', 'There is no such thing']) },
      { 'coco_pope_random.json': labels('yyyynnn') },
    );
    const figures = { accuracy: 5 / 7, precision: 3 / 4, recall: 3 / 4, f1: 3 / 4, yes_ratio: 4 / 7, score: 75 };
    assertFigures(rowOf(rows, 'random'), { ...figures, tp: 3, fp: 1, tn: 2, fn: 1, n: 7 });
  });
  test('only the words No, no and not before the first full stop make a no', async () => {
    // "", "NO", "isn't", "No</s>", "Yes. No." and the Chinese no are yes: TP = 6 of 6; "I do not" and "no, cat" are no
    const { rows } = await evaluateContents(
      'pope',
      { 'a.jsonl': answersTo(['', 'NO', "It isn't", 'No</s>', 'Yes. No.', '\u6ca1\u6709', 'I do not', 'no, cat']) },
      { 'coco_pope_random.json': labels('yyyyyynn') },
    );
    assertFigures(rowOf(rows, 'random'), { tp: 6, fp: 0, tn: 2, fn: 0 });
    // "", "NO" is a word no in any case; nothing at all: "" and the Chinese answer
    assert.equal(rowOf(rows, 'random').unparsed, 2);
  });
  test('the headline is the plain mean of the three F1, the pooled one stands beside', async () => {
    // random: four of four, F1 1.  popular: TP 1, FP 1, FN 1: F1 = 2/(2+1+1) = 1/2.  adversarial: TP 1, FP 2: F1 = 2/4 = 1/2
    // mean 2/3; pooled: TP 4+1+1 = 6, FP 0+1+2 = 3, FN 0+1+0 = 1: 12 / (12 + 3 + 1) = 3/4
    const { rows } = await evaluateContents(
      'pope',
      {
        'random.jsonl': answersTo(['Yes', 'Yes', 'Yes', 'Yes']),
        'popular.jsonl': answersTo(['Yes', 'No', 'Yes']),
        'adversarial.jsonl': answersTo(['Yes', 'Yes', 'Yes']),
      },
      {
        'coco_pope_random.json': labels('yyyy'),
        'coco_pope_popular.json': labels('yyn'),
        'coco_pope_adversarial.json': labels('ynn'),
      },
    );
    assertFigures(rowOf(rows), { score: 200 / 3, pooled_f1: 3 / 4, n: 10 });
  });
});

describe('mmvet', () => {
  const item = (...capability: string[]) => ({ imagename: 'v.png', question: '?', answer: '!', capability });
  const graded = (...score: number[]) => ({ model: score.map(() => 'g'), content: score.map(String), score });
  const labels = { v1_0: item('rec', 'ocr'), v1_1: item('rec'), v1_2: item('ocr', 'rec'), v1_3: item('math', 'ocr') };

  test('capabilities, combinations as sets, runs averaged last, population spread', async () => {
    // run 1: 0.5 1.0 0.0 0.1, run 2: 0.7 0.8 0.2 0.3
    // rec (items 0 1 2): (1.5/3 + 1.7/3) / 2 = 50 and 56.667: 53.333.  ocr (0 2 3): 0.6/3 = 20, 1.2/3 = 40: 30
    // combination rec+ocr (0 2): 25 and 45: 35.  math = combination ocr+math (3): 10 and 30: 20
    // total: 1.6/4 = 40 and 2.0/4 = 50: 45, std sqrt(((40-45)^2 + (50-45)^2) / 2) = 5
    const grades = {
      v1_0: graded(0.5, 0.7),
      v1_1: graded(1, 0.8),
      v1_2: graded(0, 0.2),
      v1_3: graded(0.1, 0.3),
    };
    const { rows } = await evaluateContents('mmvet', { 'grade.json': grades }, { 'mm-vet.json': labels });
    near(rowOf(rows, 'rec').score, (100 * (1.5 / 3 + 1.7 / 3)) / 2);
    assert.equal(rowOf(rows, 'rec').printed, 53.3);
    near(rowOf(rows, 'ocr').score, 30);
    near(rowOf(rows, 'combination:rec+ocr').score, 35);
    near(rowOf(rows, 'combination:ocr+math').score, 20);
    assertFigures(rowOf(rows), { score: 45, std: 5, n: 4 });
  });
  test("a failed judge call is out of the mean, or the script's 0 when told so", async () => {
    // 0.4, 0.8, and two replies that are no grade: (0.4 + 0.8) / 2 = 60; with zeros (0.4 + 0.8) / 4 = 30
    const failed = { model: ['g'], content: ['Sorry'], score: [0] };
    const grades = { v1_0: graded(0.4), v1_1: graded(0.8), v1_2: failed, v1_3: failed };
    const files = [{ 'grade.json': grades }, { 'mm-vet.json': labels }] as const;
    const { rows, failed: count } = await evaluateContents('mmvet', ...files);
    near(rowOf(rows).score, 60);
    assert.equal(count, 2);
    near(rowOf((await evaluateContents('mmvet', ...files, { includeFailed: true })).rows).score, 30);
  });
});

describe('llava-bench', () => {
  const review = (id: number, category: string, pair: [number, number], content = `${pair[0]} ${pair[1]}`) => ({
    question_id: id,
    category: `llava_bench_${category}`,
    content,
    tuple: pair,
  });
  const reviews = [
    review(1, 'conv', [8, 6]),
    review(2, 'conv', [10, 9]),
    review(3, 'detail', [9, 9]),
    review(4, 'complex', [7, 8]),
    review(5, 'complex', [-1, -1], '8, 9'),
  ];
  test('relative score: ratio of the two means, each rounded to three decimals', async () => {
    // conv: (6+9)/2 / ((8+10)/2) = 7.5/9 = 83.3 %.  detail 100.  complex, one left: 8/7 = 114.3
    // all: (6+9+9+8)/4 = 8, (8+10+9+7)/4 = 8.5: 94.1
    const { rows, failed } = await evaluateContents('llava-bench', { 'r.jsonl': reviews });
    near(rowOf(rows, 'conv').score, 750 / 9);
    assert.equal(rowOf(rows, 'detail').score, 100);
    assert.equal(rowOf(rows, 'complex').printed, 114.3);
    near(rowOf(rows).score, 800 / 8.5);
    assertFigures(rowOf(rows), { printed: 94.1, reference_score: 85, answer_score: 80 });
    assert.equal(failed, 1);
  });
  test('"8, 9" leaves an empty word, so -1 and -1; those stay in the means when told so', async () => {
    // complex: (8 - 1)/2 = 3.5, (7 - 1)/2 = 3: 116.7.  all: (32 - 1)/5 = 6.2, (34 - 1)/5 = 6.6: 93.9
    const { rows } = await evaluateContents('llava-bench', { 'r.jsonl': reviews }, {}, { includeFailed: true });
    near(rowOf(rows, 'complex').score, 350 / 3);
    assert.equal(rowOf(rows).printed, 93.9);
  });
  test('a review of "nan" is a failed one', async () => {
    const { rows, failed } = await evaluateContents('llava-bench', {
      'r.jsonl': '{"question_id": 1, "tuple": [NaN, 8]}\n{"question_id": 2, "tuple": [8, 4]}\n',
    });
    assert.deepEqual([rowOf(rows).score, failed], [50, 1]);
  });
  test('rounding on the way: 25/3 and 26/3 are 8.333 and 8.667', async () => {
    // 8.667 / 8.333 = 104.008..., not 26/25 = 104
    const thirds = [review(1, 'conv', [8, 8]), review(2, 'conv', [8, 9]), review(3, 'conv', [9, 9])];
    const { rows } = await evaluateContents('llava-bench', { 'r.jsonl': thirds });
    near(rowOf(rows).score, (8.667 / 8.333) * 100);
  });
});

describe('mmbench', () => {
  const head = 'index\tquestion\thint\tA\tB\tC\tD\tanswer\tcategory\tl2-category\n';
  // Question 1 in three rotations of its options, question 2 of two options in two, question 3 in one.
  const table = `${[
    '1\tq\t\tdog\tcat\tcow\t\tB\tanimals\tlogic_reasoning',
    '1000001\tq\t\tcat\tcow\tdog\t\tA\tanimals\tlogic_reasoning',
    '2000001\tq\t\tcow\tdog\tcat\t\tC\tanimals\tlogic_reasoning',
    '2\tq\t\tred\tblue\t\t\tA\tcolours\tattribute_reasoning',
    '1000002\tq\t\tblue\tred\t\t\tB\tcolours\tattribute_reasoning',
    '3\tq\t\tone\ttwo\t\t\tB\tcolours\tattribute_reasoning',
  ].join('\n')}\n`;
  const answers = (texts: Record<string, string>) =>
    Object.entries(texts).map(([index, text]) => ({ question_id: Number(index), text }));

  test('circular: a question counts when all its rotations are right; plain: its first form alone', async () => {
    // question 1: all three right.  2: first right, rotation wrong.  3: right.
    // circular 2/3, plain 3/3, rotations 5/6; logic_reasoning 1/1, attribute_reasoning 1/2
    const { rows } = await evaluateContents(
      'mmbench',
      { 'a.jsonl': answers({ 1: 'B', 1000001: 'A', 2000001: 'C.', 2: 'A', 1000002: 'A', 3: '(B)' }) },
      { 'dev.tsv': head + table },
    );
    assertFigures(rowOf(rows), { score: 200 / 3, plain: 100, rotation_accuracy: 500 / 6, n: 3, rotations: 6 });
    near(rowOf(rows, 'logic_reasoning').score, 100);
    near(rowOf(rows, 'attribute_reasoning').score, 50);
    assert.equal(rowOf(rows, 'attribute_reasoning').ability, 'AR');
    near(rowOf(rows, 'colours').score, 50);
  });
  test('the letter: alone among the last words; "A dog" is A; a stated answer; one option by its text', async () => {
    // 1: "I see a cat" holds the text of one option, B: right.  rotation 1: "A dog" is A: right.
    // rotation 2: "the answer is clearly cow" is C, as "answer is c" has no border behind it: right, for question 1 whole.
    // 2: "the answer is a" is A by the stated answer: right; rotation: "red" is B: right.  3: a full-width comma after B
    // hides the letter and the text of no option is there: nothing read, wrong.  2/3, rotations 5/6
    const { rows } = await evaluateContents(
      'mmbench',
      {
        'a.jsonl': answers({
          1: 'I see a cat',
          1000001: 'A dog',
          2000001: 'the answer is clearly cow',
          2: 'the answer is a',
          1000002: 'red',
          3: 'B\uff0c',
        }),
      },
      { 'dev.tsv': head + table },
    );
    assertFigures(rowOf(rows), { score: 200 / 3, correct: 2, unparsed: 1, rotation_accuracy: 500 / 6 });
  });
  test('the text of an option is not looked for in a reply more than twice as long as all options', async () => {
    // options of question 3: one, two: 6 characters; a reply of 12 may be read, one of 13 not
    const read = async (text: string) =>
      rowOf(
        (
          await evaluateContents(
            'mmbench',
            { 'a.jsonl': answers({ 3: text }) },
            { 'dev.tsv': `${head}${table.trim().split('\n').at(-1)}\n` },
          )
        ).rows,
      ).score;
    assert.equal(await read('it shows two'), 100);
    assert.equal(await read('it shows two!'), 0);
  });
});

describe('seed-bench', () => {
  const question = (id: number | string, type: number, answer: string) => ({
    question_id: id,
    question: '?',
    choice_a: 'w',
    choice_b: 'x',
    choice_c: 'y',
    choice_d: 'z',
    answer,
    data_type: type > 9 ? 'video' : 'image',
    data_id: `d${id}`,
    question_type_id: type,
  });
  const labels = {
    questions: [question(1, 1, 'A'), question(2, 1, 'B'), question(3, 5, 'C'), question('v4', 10, 'D')],
    question_type: { 'Scene Understanding': 1, 'Instances Counting': 5, 'Action Recognition': 10 },
  };
  test('letters as strings: "B." is wrong; by type, image, video, all', async () => {
    // types: 1 of 2, 1 of 1, 0 of 1; image 2/3, video 0/1, all 2/4
    const answers = ['A', 'B.', 'C', 'd'].map((text, k) => ({ question_id: labels.questions[k]!.question_id, text }));
    const { rows } = await evaluateContents('seed-bench', { 'a.jsonl': answers }, { 'SEED-Bench.json': labels });
    near(rowOf(rows, 'Scene Understanding').score, 50);
    near(rowOf(rows, 'Instances Counting').score, 100);
    near(rowOf(rows, 'image').score, 200 / 3);
    near(rowOf(rows, 'video').score, 0);
    near(rowOf(rows).score, 50);
  });
  test('a missing answer is a wrong one, as in the script', async () => {
    const answers = [{ question_id: 1, text: 'A' }];
    const options = { allowMissing: true };
    // image 1 of 3; the videos were not asked at all
    const { rows } = await evaluateContents(
      'seed-bench',
      { 'a.jsonl': answers },
      { 'SEED-Bench.json': labels },
      options,
    );
    near(rowOf(rows, 'image').score, 100 / 3);
    assert.equal(rowOf(rows, 'image').missing, 2);
  });
});

describe('shr', () => {
  const sentence = (model_response: string, classification: string | null) => ({ model_response, classification });
  const judgement = {
    run1: {
      10: {
        model_response: 'A cat sits here. It is calm. A dog.',
        judgement: [
          sentence('A cat sits here.', 'correct'),
          sentence('It is calm.', 'cannot judge'),
          sentence('A dog.', 'hallucination'),
        ],
      },
      11: {
        model_response: 'One bus. Two big red buses.',
        judgement: [sentence('One bus.', null), sentence('Two big red buses.', null)],
      },
      12: { model_response: 'Five cups on it.', judgement: [sentence('Five cups on it.', 'hallucination')] },
    },
  };
  test('sentences over the whole set; cannot judge in the denominator; a reply that did not fit in none', async () => {
    // classified: correct, cannot judge, hallucination, hallucination: 2/4.  words 4 + 3 + 2 + 4 = 13, hallucinated 6: 0.462
    // all sentences 6 over 3 images: 2; words 13 + 2 + 4 = 19 over 3: 6.333; hallucinated 2/3 and 6/3 an image
    const { rows } = await evaluateContents('shr', { 'judgement.json': judgement });
    assertFigures(rowOf(rows), {
      score: 50,
      hal_sents_ratio: 0.5,
      hal_words_ratio: 0.462,
      sents_per_image: 2,
      words_per_image: 6.333,
      hal_sents_per_image: 0.667,
      hal_words_per_image: 2,
      unparsed: 1,
      n: 3,
    });
  });
  test('distinct n-grams, marks taken out, mean over the images', async () => {
    // 10: a cat sits here it is calm A dog, 9 words, all distinct (A and a differ only in the first: "A cat", "A dog"): A
    // twice: 8/9.  11: One bus Two big red buses: 6/6.  12: 4/4.  (8/9 + 2) / 3 = 0.963; 2-grams: all distinct: 1
    const { rows } = await evaluateContents('shr', { 'judgement.json': judgement });
    assertFigures(rowOf(rows), { gram_1_repetition: 0.963, gram_2_repetition: 1, gram_3_repetition: 1 });
  });
});

describe('scienceqa', () => {
  const problem = (answer: number, image: string | null, hint = '', more: object = {}) => ({
    question: '?',
    choices: ['x', 'y', 'z'],
    answer,
    image,
    hint,
    split: 'test',
    subject: 'natural science',
    grade: 'grade3',
    ...more,
  });
  const problems = {
    1: problem(0, 'image.png'),
    2: problem(1, 'image.png', 'look'),
    3: problem(2, null, 'look', { subject: 'social science', grade: 'grade8' }),
    4: problem(0, null, '', { subject: 'language science', grade: 'grade11' }),
    5: problem(0, null, '', { split: 'train' }),
  };
  const answer = (id: string, text: string, hasImage: boolean) => ({
    question_id: id,
    prompt: hasImage ? '<image>\n?' : '?',
    text,
  });
  test('a bare letter, "B. ", one "The answer is X."; image accuracy over the prompts with an image', async () => {
    // 1 "A" right; 2 "The answer is B. So." right; 3 "C) z" not read, wrong; 4 "D" beyond three choices, wrong
    // all 2/4, image 2/2, text 0/2, natural 2/2, social 0/1, text context (2, 3) 1/2, image context 2/2, no context 0/1,
    // grades 1-6 2/2, 7-12 0/2
    const answers = [
      answer('1', 'A', true),
      answer('2', 'The answer is B. So.', true),
      answer('3', 'C) z', false),
      answer('4', 'D', false),
    ];
    const { rows } = await evaluateContents('scienceqa', { 'a.jsonl': answers }, { 'problems.json': problems });
    const expected: [string, number][] = [
      ['all', 50],
      ['image', 100],
      ['text', 0],
      ['natural science', 100],
      ['social science', 0],
      ['text context', 50],
      ['image context', 100],
      ['no context', 0],
      ['grade 1-6', 100],
      ['grade 7-12', 0],
    ];
    for (const [split, score] of expected) near(rowOf(rows, split).score, score, split);
    assert.equal(rowOf(rows).unparsed, 1);
  });
  test('nothing is drawn for what cannot be read, and a missing answer is wrong', async () => {
    // one right of four, whatever the day
    const { rows } = await evaluateContents(
      'scienceqa',
      { 'a.jsonl': [answer('1', 'A. x', true), answer('2', 'The answer is A. The answer is B.', true)] },
      { 'problems.json': problems },
      { allowMissing: true },
    );
    near(rowOf(rows).score, 25);
    near(rowOf(rows, 'image').score, 50);
  });
});

describe('gqa', () => {
  const ask = (answer: string, structural: string, more: object = {}) => ({
    question: 'Is it a red one?',
    answer,
    imageId: '1',
    types: { structural, semantic: 'attr', detailed: 'x' },
    semantic: [
      { operation: 'select', argument: 'dog' },
      { operation: 'filter color', argument: 'red' },
      { operation: 'exist', argument: '?' },
    ],
    groups: { global: null },
    isBalanced: true,
    entailed: [],
    ...more,
  });
  const group = { groups: { global: 'colour' } };
  const questions = {
    a: ask('yes', 'verify', { entailed: ['a', 'b', 'e'] }),
    b: ask('no', 'verify'),
    c: ask('red', 'query', {
      ...group,
      question: 'Which colour?',
      semantic: [{ operation: 'query', argument: 'name' }],
    }),
    d: ask('red', 'query', { ...group, types: { structural: 'query', semantic: 'attr', detailed: 'twoCommon' } }),
    f: ask('blue', 'query', group),
    e: ask('no', 'verify', { isBalanced: false }),
  };
  const choices = {
    a: { valid: ['yes', 'no'], plausible: ['yes'] },
    b: { valid: ['yes', 'no'], plausible: ['no'] },
    c: { valid: ['red', 'blue'], plausible: ['red'] },
    d: { valid: ['red'], plausible: ['red'] },
    f: { valid: ['red', 'blue'], plausible: ['blue'] },
    e: { valid: ['yes', 'no'], plausible: ['no'] },
  };
  const said = (texts: Record<string, string>) =>
    Object.entries(texts).map(([question_id, text]) => ({ question_id, text }));

  test('every printed line, over the balanced questions', async () => {
    // a "Yes." right, b "yes" wrong, c "red" right, d "color" wrong, f "red." wrong
    // accuracy 2/5, binary 1/2, open 1/3.  Steps: a b d f have two (exist does not count), c none ("query: name").
    // Words: c has 2, the others 5 ("Is it a red one?"): 1/1 and 1/4
    // distribution, group colour (c d f): gold red 2, blue 1; said red 2, color 1: (2-2)^2/2 + (0-1)^2/1 = 1; / 100 = 0.01
    // validity: a yes, b yes, c yes, d color is one of color material shape: yes, f red: yes: 5/5
    // plausibility: a yes, b "yes" no, c yes, d yes, f red no: 3/5
    const { rows } = await evaluateContents(
      'gqa',
      { 'a.jsonl': said({ a: 'Yes.', b: 'yes', c: 'red', d: 'color', f: 'red..' }) },
      { 'questions.json': questions, 'choices.json': choices },
    );
    assertFigures(rowOf(rows), { score: 40, n: 5, distribution: 0.01, validity: 100, plausibility: 60 });
    const expected: [string, number][] = [
      ['binary', 50],
      ['open', 100 / 3],
      ['structural/verify', 50],
      ['structural/query', 100 / 3],
      ['steps/0', 100],
      ['steps/2', 25],
      ['words/2', 100],
      ['words/5', 25],
    ];
    for (const [split, score] of expected) near(rowOf(rows, split).score, score, split);
    // consistency: a is right; it entails itself (not counted), b (wrong) and e (not answered): 0 of 1
    near(rowOf(rows).consistency, 0);
  });
  test('an unbalanced question counts for consistency alone', async () => {
    // a right, entails b (right) and e (wrong): 1/2.  e adds nothing to the accuracy: 2 of 5
    const { rows } = await evaluateContents(
      'gqa',
      { 'a.jsonl': said({ a: 'yes', b: 'no', c: 'x', d: 'x', f: 'x', e: 'yes' }) },
      { 'questions.json': questions },
    );
    assertFigures(rowOf(rows), { score: 40, n: 5, consistency: 50 });
  });
  test('lower case and trailing full stops alone: an article or a blank is wrong', async () => {
    const { rows } = await evaluateContents(
      'gqa',
      { 'a.jsonl': said({ a: 'YES...', b: ' no', c: 'the red', d: 'red!', f: 'Blue.' }) },
      { 'questions.json': questions },
    );
    near(rowOf(rows).score, 40);
  });
});

describe('mt-bench', () => {
  const judged = (question_id: number, turn: number, score: number, model = 'm') => ({
    question_id,
    model,
    turn,
    score,
  });
  test('means of all valid ratings and of each turn; -1 is dropped', async () => {
    // turn 1: (8 + 6)/2 = 7, -1 dropped.  turn 2: (3 + 7 + 9)/3 = 19/3.  all: (8 + 6 + 3 + 7 + 9)/5 = 33/5
    const rows81 = [judged(81, 1, 8), judged(82, 1, 6), judged(83, 1, -1), judged(81, 2, 3), judged(82, 2, 7)];
    const { rows, failed } = await evaluateContents('mt-bench', {
      'gpt-4_single.jsonl': [...rows81, judged(83, 2, 9)],
    });
    near(rowOf(rows, 'turn-1').score, 7);
    near(rowOf(rows, 'turn-2').score, 19 / 3);
    assertFigures(rowOf(rows), { score: 33 / 5, n: 5, failed: 1 });
    assert.equal(failed, 1);
  });
  test('pairwise: both games must agree, else a tie; an error drops the row; a tie is half a win', async () => {
    const game = (id: number, g1_winner: string, g2_winner: string) => ({
      question_id: id,
      model_1: 'a',
      model_2: 'b',
      g1_winner,
      g2_winner,
    });
    const games = [
      game(81, 'model_1', 'model_1'),
      game(82, 'model_1', 'model_2'),
      game(83, 'tie', 'tie'),
      game(84, 'model_2', 'model_2'),
      game(85, 'model_1', 'tie'),
      game(86, 'model_1', 'error'),
    ];
    // a: 1 win, 3 ties (disagreement, tie, win and tie), 1 loss of 5: win rate 0.2, adjusted (1 + 1.5) / 5 = 0.5
    const { rows } = await evaluateContents('mt-bench', { 'gpt-4_pair.jsonl': games });
    const figures = { wins: 1, ties: 3, losses: 1, win_rate: 0.2, loss_rate: 0.2, win_rate_adjusted: 0.5, failed: 1 };
    assertFigures(rowOf(rows, 'all', 'a'), figures);
    assertFigures(rowOf(rows, 'all', 'b'), figures);
  });
});

describe('alpaca-eval', () => {
  const row = (k: number, preference: number | null, output_2 = 'abcd') => ({
    instruction: `Do ${k}`,
    output_1: 'ab',
    generator_1: 'base',
    output_2,
    generator_2: 'm',
    preference,
  });
  test('v1: 1 is a loss, 2 a win, 0 and 1.5 a draw, null left out; error of the mean with n - 1', async () => {
    // wins - 1 each: 1, 1, 0, 0.5, 0.5: mean 0.6: 60 %.  squares: 0.16 + 0.16 + 0.36 + 0.01 + 0.01 = 0.7, / 4 = 0.175;
    // error sqrt(0.175 / 5).  Lengths in code points: 4 4 4 4 1 4 (one emoji): 21/6 = 3.5, floor 3
    const rows6 = [row(1, 2), row(2, 2), row(3, 1), row(4, 0), row(5, 1.5, '\u{1f600}'), row(6, null)];
    const { rows } = await evaluateContents('alpaca-eval', { 'annotations.json': rows6 });
    assertFigures(rowOf(rows), {
      n: 5,
      score: 60,
      n_wins: 2,
      n_wins_base: 1,
      n_draws: 2,
      discrete_win_rate: 60,
      standard_error: 100 * Math.sqrt(0.175 / 5),
      avg_length: 3,
      failed: 1,
    });
  });
  test('v2: a weighted preference counts by its weight, the discrete rate by its side', async () => {
    // 1.9, 1.6, 1.2: 0.9 + 0.6 + 0.2 = 1.7 / 3; discrete 2 of 3
    const { rows } = await evaluateContents('alpaca-eval', { 'a.json': [row(1, 1.9), row(2, 1.6), row(3, 1.2)] });
    near(rowOf(rows).score, 170 / 3);
    near(rowOf(rows).discrete_win_rate, 200 / 3);
  });
  test('length-controlled: with no pull of length or difficulty the rate is that of the weighted rows', async () => {
    // All difficulties are 0, so that the length-free prediction is one number, logistic(weight of the model); lengths
    // and preferences balance, so that the weight of length is 0 by symmetry: at both lengths 3 of 4 are won. Then the
    // weight w minimises |w| + C sum of losses: near logit(3/4) for the large C, so the rate is just under 75 %.
    const annotations = Array.from({ length: 400 }, (_, k) =>
      row(k, k % 4 === 3 ? 1 : 2, (k >> 2) % 2 === 0 ? 'a' : 'abcd'),
    );
    const gamed = ['index,preference,std_delta_len,instruction_difficulty,not_gamed_baseline'];
    for (let k = 0; k < 400; k++) gamed.push(`${k},0.5,${(k >> 2) % 2 === 0 ? 1 : -1},0,False`);
    const { rows } = await evaluateContents(
      'alpaca-eval',
      { 'annotations.json': annotations },
      {},
      { tables: { 'df_gamed.csv': `${gamed.join('\n')}\n` } },
    );
    const rate = rowOf(rows).length_controlled_win_rate as number;
    assert.ok(rate > 73 && rate <= 75.01, `${rate}`);
    assert.equal(rowOf(rows).score, 75);
  });
});

describe('compare', () => {
  const answers = (letters: string) => [...letters].map((text, k) => ({ question_id: k + 1, text }));
  const labels = {
    questions: [...'AAAAAAAAAA'].map((answer, k) => ({
      question_id: k + 1,
      answer,
      data_type: 'image',
      data_id: `${k}`,
      question_type_id: 1,
    })),
    question_type: { Scene: 1 },
  };
  test('wins, ties, losses, adjusted and decided rate; the sign test', async () => {
    // a right on 1-9, b right on 1-3 and 10: wins 6 (4-9), losses 1 (10), ties 3
    // adjusted (6 + 1.5) / 10, decided 6/7; p = 2 x (C(7,0) + C(7,1)) / 2^7 = 16/128
    const { rows } = await evaluateContents(
      'compare',
      { 'a.jsonl': answers('AAAAAAAAAB'), 'b.jsonl': answers('AAABBBBBBA') },
      { 'SEED-Bench.json': labels },
      { on: 'seed-bench' },
    );
    assertFigures(rowOf(rows), {
      wins: 6,
      ties: 3,
      losses: 1,
      score: 75,
      win_rate: 0.6,
      win_rate_adjusted: 0.75,
      win_rate_decided: 6 / 7,
      mean_a: 0.9,
      mean_b: 0.4,
      difference: 0.5,
      p_value: 16 / 128,
    });
    assert.equal(rowOf(rows).test, 'exact');
  });
  test('bootstrap: with two images the resamples can be counted', async () => {
    // differences +1 (image 0) and 0 (image 1): the mean of two draws is 1, 0.5, 0.5 or 0, so the interval is [0, 1] and the
    // mean is as far from 0.5 as 0.5 in half of the draws: p about 1/2
    const two = { ...labels, questions: labels.questions.slice(0, 2) };
    const { rows } = await evaluateContents(
      'compare',
      { 'a.jsonl': answers('AA'), 'b.jsonl': answers('BA') },
      { 'SEED-Bench.json': two },
      { on: 'seed-bench', test: 'bootstrap' },
    );
    assert.deepEqual(rowOf(rows).difference_ci95, [0, 1]);
    assert.ok(Math.abs((rowOf(rows).p_value as number) - 0.5) < 0.05, `${rowOf(rows).p_value}`);
  });
});

describe('records', () => {
  const judgedBy = (guide: string, scores: object[]) => [{ guide, judge: 'j', run: 1, outcome: 'ok', scores }];

  test('consistency: Q and A and their mean, by temperature', async () => {
    // t0.2: Q (8 + 6)/2 = 7, A (9 + 5)/2 = 7, mean 7.  t0.9: Q 4, A 2, mean 3.  all: Q 18/3 = 6, A 16/3
    const record = (id: string, label: string, q: number, a: number) => ({
      id,
      prompt: '?',
      responses: [{ text: 'x', label }],
      annotations: judgedBy('consistency', [{ q_consistency: q, a_consistency: a }]),
    });
    const { rows } = await evaluateContents('consistency', {
      'in.ndjson': [record('1', 't0.2', 8, 9), record('2', 't0.2', 6, 5), record('3', 't0.9', 4, 2)],
    });
    assertFigures(rowOf(rows, 'temperature=0.2'), { q_consistency: 7, a_consistency: 7, score: 7 });
    assertFigures(rowOf(rows, 'temperature=0.9'), { q_consistency: 4, a_consistency: 2, score: 3 });
    assertFigures(rowOf(rows), { q_consistency: 6, a_consistency: 16 / 3, score: (6 + 16 / 3) / 2 });
  });
  test('hallucination: an object counts once a caption; CHAIR i and s, recall, F1', async () => {
    const labels = [
      { id: '1', image: '1.jpg', objects: ['dog', 'cat'] },
      { id: '2', image: '2.jpg', objects: ['car'] },
      { id: '3', image: '3.jpg', objects: ['cat', 'bus', 'car'] },
    ];
    const captions = [
      { id: '1', caption: 'Two dogs and a car; the dog barks.' },
      { id: '2', caption: 'A car.' },
      { id: '3', caption: 'Buses and a dog.' },
    ];
    // named: dog car | car | bus dog = 5, absent: car | - | dog = 2: CHAIRi 2/5, CHAIRs 2/3; objects 6, named and there 3:
    // recall 1/2; precision 3/5: F1 = 2 x 0.6 x 0.5 / 1.1 = 6/11; 5/3 named a caption
    const { rows } = await evaluateContents('hallucination', { 'c.jsonl': captions }, { 'l.jsonl': labels });
    const figures = { score: 40, chair_i: 2 / 5, chair_s: 2 / 3, recall: 1 / 2, f1: 6 / 11, mentions: 5 / 3 };
    assertFigures(rowOf(rows), figures);
  });
  test('length: words, code points, medians', async () => {
    // words 2, 1, 3: mean 2, median 2; code points 6 ("ab cde"), 1, 5: mean 4, median 5
    const answers = ['ab cde', '\u{1f600}', 'a b c'].map((text, k) => ({ question_id: k, text }));
    const { rows } = await evaluateContents('length', { 'a.jsonl': answers });
    assertFigures(rowOf(rows), { score: 2, words_median: 2, characters: 4, characters_median: 5 });
  });
  test("rewards: beta times the log-prob ratios, TRL's means, the DPO loss", async () => {
    const record = (id: string, logps: number[]) => ({
      id,
      prompt: '?',
      policy_chosen_logps: logps[0],
      ref_chosen_logps: logps[1],
      policy_rejected_logps: logps[2],
      ref_rejected_logps: logps[3],
    });
    // beta 0.1. 1: chosen 0.1 (-5 + 7) = 0.2, rejected 0.1 (-9 + 8) = -0.1, margin 0.3, right.  2: 0.1 (-6 + 5) = -0.1,
    // 0.1 (-4 + 6) = 0.2, margin -0.3, wrong.  accuracy 1/2, margin 0, loss mean of ln(1 + e^-0.3) and ln(1 + e^0.3)
    const { rows } = await evaluateContents('rewards', {
      'in.ndjson': [record('1', [-5, -7, -9, -8]), record('2', [-6, -5, -4, -6])],
    });
    assertFigures(rowOf(rows), {
      score: 50,
      'rewards/chosen': 0.05,
      'rewards/rejected': 0.05,
      'rewards/margins': 0,
      'rewards/accuracies': 0.5,
      loss: (Math.log1p(Math.exp(-0.3)) + Math.log1p(Math.exp(0.3))) / 2,
    });
  });
  test('exact: one of several right answers, blanks at the ends off; by kind', async () => {
    const labels = [
      { id: '1', kind: 'colour', answer: ['grey', 'gray'] },
      { id: '2', kind: 'colour', answer: 'red' },
      { id: '3', kind: 'count', answer: '2' },
    ];
    const answers = [
      { id: '1', text: ' gray\n' },
      { id: '2', text: 'Red' },
      { id: '3', text: '2' },
    ];
    // official: 1 right, 2 wrong (capital), 3 right: colour 1/2, count 1/1, all 2/3; strict reads "Red" too
    const { rows } = await evaluateContents('exact', { 'a.jsonl': answers }, { 'l.jsonl': labels });
    near(rowOf(rows, 'colour').score, 50);
    near(rowOf(rows, 'count').score, 100);
    near(rowOf(rows).score, 200 / 3);
    const strict = await evaluateContents('exact', { 'a.jsonl': answers }, { 'l.jsonl': labels }, { parse: 'strict' });
    near(rowOf(strict.rows).score, 100);
  });
});

test('intervals go by image: six questions about one image are not six images', async () => {
  // 4 images of 2 questions: all right, all right, all wrong, all wrong. p = 1/2, each image adds (hits - 2p)^2 = 1: the
  // clustered variance is (4/3) x 4 / 8^2 = 1/12, the effective sample (1/4) / (1/12) = 3, t(3) = 3.1824463053.
  // Wilson: centre 1/2, half = t / (1 + t^2/3) x sqrt((1/4)/3 + t^2 / 36)
  const labels = Array.from({ length: 8 }, (_, k) => ({ id: `${k}`, image: `${k >> 1}.jpg`, answer: 'x' }));
  const answers = labels.map(({ id }) => ({ id, text: Number(id) < 4 ? 'x' : 'y' }));
  const { rows } = await evaluateContents('exact', { 'a.jsonl': answers }, { 'l.jsonl': labels });
  const t = 3.1824463053;
  const half = (t / (1 + t ** 2 / 3)) * Math.sqrt(1 / 12 + t ** 2 / 36);
  assert.equal(rowOf(rows).clusters, 4);
  const [low, high] = rowOf(rows).ci95!;
  assert.ok(Math.abs(low - 100 * (0.5 - half)) < 1e-9 && Math.abs(high - 100 * (0.5 + half)) < 1e-9, `${low} ${high}`);
});
