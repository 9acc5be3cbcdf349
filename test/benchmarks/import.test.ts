// SPDX-License-Identifier: Apache-2.0
// The benchmarks' importers: prompts as the protocols send them, and the way back, since records that were answered
// score as the official answer files do.
// Covers src/benchmarks/questions.ts src/benchmarks/pope/import.ts src/benchmarks/mmvet/import.ts src/benchmarks/mmbench/import.ts
// Covers src/benchmarks/llava-bench/import.ts src/benchmarks/seed-bench/import.ts src/benchmarks/shr/import.ts src/benchmarks/gqa/import.ts
// Covers src/benchmarks/scienceqa/import.ts src/benchmarks/mt-bench/import.ts src/benchmarks/alpaca-eval/import.ts
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { describe, test } from 'node:test';
import { recordId } from '../../src/benchmarks/scoring/answers.ts';
import type { VprefRecord } from '../../src/records/record.ts';
import type { ImportSetting } from '../../src/stages/import/format.ts';
import { importFiles, newImportCounts } from '../../src/stages/import/index.ts';
import { type Content, evaluate, evaluateContents, fixture } from '../support/evaluate.ts';

type Setting = Omit<ImportSetting, 'seed' | 'sources'>;

async function run(
  format: string,
  files: Record<string, string | Buffer>,
  { setting = {}, sources, seed = 0 }: { setting?: Setting; sources?: string[]; seed?: number } = {},
) {
  const open = (bytes: string | Buffer) =>
    async function* () {
      yield Buffer.from(bytes);
    };
  const options = {
    format,
    selection: { limits: [], limitDialogues: false, seed, ...(sources && { sources }) },
    cleaning: 'none' as const,
    imageRoots: [],
    checkImages: false,
    setting,
  };
  const inputs = Object.entries(files).map(([source, bytes]) => ({ source, open: open(bytes) }));
  const records: VprefRecord[] = [];
  const errors: string[] = [];
  for await (const result of importFiles(inputs, options, newImportCounts())) {
    records.push(...result.records);
    if (result.error) errors.push(result.error.message);
  }
  return { records, errors };
}

const bytes = (path: string) => readFileSync(fixture(`eval/${path}`));
const rows = (path: string) =>
  bytes(path)
    .toString()
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));

async function importSet(format: string, names: string[], options: Parameters<typeof run>[2] = {}) {
  const { records, errors } = await run(
    format,
    Object.fromEntries(names.map((name) => [name, bytes(`${format}/${name}`)])),
    options,
  );
  assert.deepEqual(errors, []);
  return records;
}

/** The records with the texts of an answer file as responses. */
function answered(records: VprefRecord[], answers: { question_id: unknown; text: string }[]): Content {
  const texts = new Map(answers.map((answer) => [String(answer.question_id), answer.text]));
  return records.map((record) => ({
    ...record,
    responses: [{ text: texts.get(recordId(record))!, view: 'original' }],
  }));
}

const LETTER = "\nAnswer with the option's letter from the given choices directly.";

describe('prompts', () => {
  test("pope: as written; with the protocol's ending on request, once", async () => {
    const name = 'coco_pope_popular.json';
    const [first] = await importSet('pope', [name]);
    assert.deepEqual(
      [first!.id, first!.images, first!.prompt, first!.source, first!.reference, first!.meta],
      [
        'pope/popular/1',
        ['COCO_val2014_000000000000.jpg'],
        'Is there a dog in the image?',
        'pope/popular',
        'yes',
        { question_id: '1', split: 'popular' },
      ],
    );
    const ending = '\nAnswer the question using a single word or phrase.';
    const [asked] = await importSet('pope', [name], { setting: { protocol: 'llava' } });
    assert.equal(asked!.prompt, `Is there a dog in the image?${ending}`);
    const llava = await importSet('pope', ['llava_pope_test.jsonl'], { setting: { protocol: 'llava' } });
    assert.equal(llava[0]!.prompt, `Is there a dog in the image?${ending}`);
    assert.equal(llava.length, 180);
  });
  test('mmvet: question, image, capabilities', async () => {
    const [first] = await importSet('mmvet', ['mm-vet.json']);
    assert.deepEqual(first, {
      id: 'mmvet/v1_0',
      images: ['v1_0.png'],
      prompt: 'What is in part 0 of the picture?',
      source: 'mmvet',
      reference: '0 <AND> 1',
      meta: { question_id: 'v1_0', capability: ['ocr', 'math'], imagesource: 'made up' },
    });
  });
  test('llava-bench: captions and reference for the judge', async () => {
    const names = ['questions.jsonl', 'context.jsonl', 'answers_gpt4.jsonl'];
    const records = await importSet('llava-bench', names);
    assert.equal(records.length, 12);
    assert.deepEqual(
      [records[3]!.context, records[3]!.reference, records[3]!.meta],
      ['Scene 1.\nIt is calm.', 'The reference says 3.', { question_id: '3', category: 'conv' }],
    );
  });
  test('mmbench: hint, options, rotations, Chinese', async () => {
    const records = await importSet('mmbench', ['mmbench_dev.tsv']);
    const hinted = records.find(({ id }) => id === 'mmbench/10')!;
    const options = hinted.choices!.map((choice, k) => `\n${'ABCD'[k]}. ${choice}`).join('');
    assert.equal(hinted.prompt, `Look well.\nWhich thing is "number 10"?${options}${LETTER}`);
    const turned = records.find(({ id }) => id === 'mmbench/1000010')!;
    assert.equal(turned.group, 'mmbench/10');
    assert.deepEqual(turned.choices, [...hinted.choices!.slice(1), hinted.choices![0]]);
    assert.deepEqual(turned.images, hinted.images, 'a rotation names the row whose image it shares');
    assert.match(hinted.images![0]!, /^data:image\/png;base64,iVBOR/);
    const chinese = records.find(({ id }) => id === 'mmbench/5')!;
    assert.ok((chinese.prompt as string).endsWith('\n\u8bf7\u76f4\u63a5\u56de\u7b54\u9009\u9879\u5b57\u6bcd\u3002'));
  });
  test('seed-bench: image questions, and video when asked for', async () => {
    const records = await importSet('seed-bench', ['SEED-Bench.json']);
    assert.equal(records.length, 32);
    const [first] = records;
    assert.deepEqual(
      [first!.id, first!.images, first!.source],
      ['seed-bench/image/100', ['SEED-Bench-image/0_7'], 'seed-bench/image'],
    );
    assert.ok((first!.prompt as string).startsWith('What is thing 0?\nA. '));
    assert.ok((first!.prompt as string).endsWith(LETTER));
    const videos = await importSet('seed-bench', ['SEED-Bench.json'], { sources: ['video'] });
    assert.deepEqual(videos[0]!.images, ['SEED-Bench-video-image/10_v4.png']);
  });
  test('shr: regions and facts for the judge, beams for the answer', async () => {
    const names = [
      'val_images_final.json',
      'image_data.json',
      'region_descriptions.json',
      'shr_factual_part1.jsonl',
      'shr_factual_part2.jsonl',
    ];
    const [first, ...others] = await importSet('shr', names);
    assert.deepEqual(first, {
      id: 'shr/2000',
      images: ['VG_100K/2000.jpg'],
      prompt: 'Describe this image in detail.',
      source: 'shr',
      context: '[0.1, 0.1, 0.6, 0.5]: a dog on grass\nThe grass is green.\nIt is day.',
      sampling_params: { temperature: 0, beams: 5, max_new_tokens: 512 },
      meta: { question_id: '2000' },
    });
    assert.equal(others.length, 5);
  });
  test('scienceqa: the test split, context, options', async () => {
    const records = await importSet('scienceqa', ['problems.json', 'pid_splits.json']);
    assert.equal(records.length, 35);
    const [first, second] = records;
    assert.ok((first!.prompt as string).startsWith('Context: Think of animals.\nWhich is thing 0?\nA. '));
    assert.equal(first!.images, undefined);
    assert.deepEqual(second!.images, ['2/image.png']);
    assert.deepEqual(await importSet('scienceqa', ['problems.json']), records);
    assert.equal((await importSet('scienceqa', ['problems.json'], { sources: ['train'] })).length, 5);
  });
  test("scienceqa: LLaVA's conversations", async () => {
    const item = {
      id: '4',
      image: '4/image.png',
      conversations: [{ from: 'human', value: '<image>\nWhich?\nA. x\nB. y' }],
    };
    const { records } = await run('scienceqa', { 'llava_test_CQM-A.json': JSON.stringify([item]) });
    assert.deepEqual([records[0]!.prompt, records[0]!.images], [`Which?\nA. x\nB. y${LETTER}`, ['4/image.png']]);
  });
  test('gqa: short answer', async () => {
    const [first] = await importSet('gqa', ['testdev_balanced_questions.json']);
    assert.deepEqual(
      [first!.id, first!.images, first!.prompt],
      ['gqa/00000000', ['0.jpg'], 'Which thing is big in 0?\nAnswer the question using a single word or phrase.'],
    );
  });
  test('mt-bench: two turns, temperature by category, references', async () => {
    const records = await importSet('mt-bench', ['question.jsonl', 'reference_answer.jsonl']);
    assert.deepEqual(records[0], {
      id: 'mt-bench/81',
      prompt: [
        { role: 'user', content: 'Write about 0.' },
        { role: 'assistant', content: null },
        { role: 'user', content: 'Now shorter, about 0.' },
      ],
      source: 'mt-bench',
      sampling_params: { temperature: 0.7, max_new_tokens: 1024 },
      meta: { question_id: '81', category: 'writing' },
    });
    assert.deepEqual(records[4]!.reference, ['Right.', 'Also right.']);
    assert.deepEqual(
      records.map(({ sampling_params }) => sampling_params!.temperature).slice(10),
      [0, 0, 0.1, 0.1, 0.1, 0.1],
    );
  });
  test('mt-bench with noisy images: one drawn for each turn by seed and id; or the mark as text', async () => {
    const noisyImages = Array.from({ length: 50 }, (_, k) => `coco/${k}.jpg`);
    const draw = (seed: number, more: Setting = {}) =>
      importSet('mt-bench', ['question.jsonl'], { seed, setting: { noisyImages, ...more } });
    const records = await draw(1);
    assert.deepEqual(await draw(1), records);
    assert.notDeepEqual(await draw(2), records);
    const { images, prompt, meta } = records[0]!;
    assert.deepEqual(meta!.noisy_images, images);
    assert.equal(images!.length, 2);
    assert.deepEqual(
      (prompt as { content: unknown }[]).map(({ content }) => content),
      ['<image>\nWrite about 0.', null, '<image>\nNow shorter, about 0.'],
    );
    const [literal] = await draw(1, { literalMarker: true });
    assert.equal(literal!.images, undefined);
    assert.deepEqual((literal!.prompt as { content: unknown }[])[0]!.content, [
      { type: 'text', text: '<image>\nWrite about 0.' },
    ]);
    assert.deepEqual(literal!.meta!.noisy_images, images);
  });
  test('alpaca-eval: instruction and baseline output', async () => {
    const [first] = await importSet('alpaca-eval', ['alpaca_eval.json']);
    const [row] = JSON.parse(bytes('alpaca-eval/alpaca_eval.json').toString());
    assert.deepEqual([first!.prompt, first!.reference], [row.instruction, row.output]);
    assert.deepEqual(first!.meta, { question_id: '0', index: 0, dataset: 'koala', baseline: 'text_davinci_003' });
  });
});

describe('answered records score as the official answer files', () => {
  const cases: [string, string[], string, string[]][] = [
    ['mmbench', ['mmbench_dev.tsv'], 'answers.jsonl', ['mmbench_dev.tsv']],
    ['seed-bench', ['SEED-Bench.json'], 'image-answers.jsonl', ['SEED-Bench.json']],
    ['scienceqa', ['problems.json'], 'answers.jsonl', ['problems.json']],
  ];
  for (const [benchmark, questions, answers, labels] of cases)
    test(benchmark, async () => {
      const records = answered(await importSet(benchmark, questions), rows(`${benchmark}/${answers}`));
      const official = await evaluate(
        benchmark,
        [fixture(`eval/${benchmark}/${answers}`)],
        labels.map((name) => fixture(`eval/${benchmark}/${name}`)),
      );
      const ours = await evaluateContents(benchmark, { 'answers.ndjson': records });
      const scores = (evaluated: typeof ours) =>
        new Map(evaluated.rows.map(({ split, n, score }) => [split, { n, score }]));
      const expected = scores(official);
      for (const [split, score] of scores(ours)) assert.deepEqual(score, expected.get(split), split);
      assert.ok(expected.has('all'));
    });
  test('pope, three splits, without a label file', async () => {
    const splits = ['random', 'popular', 'adversarial'];
    const records = await importSet(
      'pope',
      splits.map((split) => `coco_pope_${split}.json`),
    );
    const texts = splits.flatMap((split) => rows(`pope/answers_${split}.json`).map(({ answer }) => answer as string));
    const given = records.map((record, k) => ({ ...record, responses: [{ text: texts[k]! }] }));
    const { scores } = { scores: JSON.parse(readFileSync(fixture('golden/eval/scores.json'), 'utf8')).pope };
    const { rows: ours } = await evaluateContents('pope', { 'answers.ndjson': given });
    for (const { split, score } of ours) assert.ok(Math.abs(score! - 100 * scores[split].f1) < 1e-9, split);
  });
  test('gqa with its questions file', async () => {
    const records = answered(await importSet('gqa', ['testdev_balanced_questions.json']), rows('gqa/answers.jsonl'));
    const labels = { 'questions.json': bytes('gqa/testdev_balanced_questions.json') };
    const { rows: ours } = await evaluateContents('gqa', { 'answers.ndjson': records }, labels);
    const { gqa } = JSON.parse(readFileSync(fixture('golden/eval/scores.json'), 'utf8'));
    assert.equal(ours.find(({ split }) => split === 'all')!.score, gqa.all);
  });
});

describe('bad question files name the place', () => {
  const failures: [string, Record<string, string>, RegExp][] = [
    [
      'pope',
      { 'coco_pope_random.json': '{"question_id": 1, "image": 5, "text": "Is there?"}' },
      /random\.json:1: image: expected a non-empty string, got number 5/,
    ],
    [
      'mmvet',
      { 'mm-vet.json': '{"v1_0": {"imagename": "a.png", "question": ""}}' },
      /mm-vet\.json:1: v1_0\.question: expected a non-empty string/,
    ],
    [
      'mmbench',
      { 'm.tsv': 'index\tquestion\tA\tB\timage\nx\tWhat?\ta\tb\tQUJD\n' },
      /m\.tsv:2: index: expected an integer, got string "x"/,
    ],
    [
      'mmbench',
      { 'm.tsv': 'index\tquestion\tA\tB\timage\n1\tWhat?\ta\tb\t\n' },
      /m\.tsv:2: image: expected an image in base64/,
    ],
    [
      'scienceqa',
      { 'problems.json': '{"1": {"question": "q", "choices": ["a"], "answer": 3, "split": "test"}}' },
      /1\.answer: expected the index of a choice, got number 3/,
    ],
    [
      'mt-bench',
      { 'question.jsonl': '{"question_id": 81, "turns": "x"}' },
      /question\.jsonl:1: turns: expected a list of questions/,
    ],
    [
      'shr',
      {
        'val.json': '[{"image_id": 7}]',
        'regions.json':
          '[{"id": 7, "regions": [{"image_id": 7, "x": 1, "y": 1, "width": 2, "height": 2, "phrase": "a"}]}]',
      },
      /image_id: expected an image of image_data\.json/,
    ],
  ];
  for (const [format, files, message] of failures)
    test(`${format}: ${message.source.slice(0, 40)}`, async () => {
      const { records, errors } = await run(format, files);
      assert.equal(records.length, 0);
      assert.match(errors.join('\n'), message);
    });
  test('a file of another kind', async () => {
    await assert.rejects(
      run('seed-bench', { 'x.json': '{"a": 1}' }),
      /x\.json:1: questions: expected a list of questions, got nothing/,
    );
  });
});

test('what an item says besides is kept under meta; a preference, a text or a picture that would be lost is an error', async () => {
  const pope = { question_id: 1, image: 'a.jpg', text: 'Is there a dog?', label: 'yes' };
  const items: [string, string, object][] = [
    ['pope', 'coco_pope_random.json', pope],
    ['mmvet', 'l.jsonl', { question_id: 1, image: 'a.jpg', text: 'q' }],
    ['llava-bench', 'questions.jsonl', { question_id: 1, image: 'a.jpg', text: 'q' }],
    ['shr', 'val_images_final.json', { image_id: 7 }],
    ['mt-bench', 'question.jsonl', { question_id: 81, turns: ['q'] }],
    ['alpaca-eval', 'alpaca_eval.json', { instruction: 'q' }],
  ];
  for (const [format, name, item] of items) {
    const read = (more: object) => run(format, { [name]: JSON.stringify({ ...item, ...more }) });
    const { records } = await read({ difficulty: 3 });
    assert.equal(records[0]?.meta?.difficulty, 3, format);
    const { errors } = await read({ second_image: 'b.jpg' });
    assert.match(errors.join(), /second_image: expected a column .* an image that would be lost/, format);
    assert.match(
      (await read({ rejected: 'no' })).errors.join(),
      /rejected: .* a preference that would be lost/,
      format,
    );
  }
});
