// SPDX-License-Identifier: Apache-2.0
// Covers src/benchmarks/coco-questions.ts src/benchmarks/scoring/mentions.ts src/benchmarks/scoring/coco.ts
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { cocoId, joinPairs, mentionsOf, readCocoObjects } from '../../src/benchmarks/scoring/coco.ts';
import { parseEvalFile } from '../../src/benchmarks/scoring/file.ts';
import { englishTables } from '../support/english.ts';
import { evaluateContents } from '../support/evaluate.ts';
import { assertFigures, rowOf } from '../support/figures.ts';
import { importFailure, importItems, importOne } from '../support/import-stage.ts';

const SYNONYMS = `person, man, woman, child
dog, puppy
motorcycle, scooter,  motor bike
chair, seat
toilet, potty
wine glass
tie, bow, bow tie
dining table, table
train, locomotive
`;
const NOUNS =
  'person man woman child dog puppy motorcycle scooter motor bike chair seat toilet potty wine glass tie bow table train dining baby passenger';
const tables = { 'synonyms.txt': SYNONYMS, 'nltk-english.json': englishTables(NOUNS) };
const coco = (annotations: object[], more: object = {}) =>
  JSON.stringify({ images: [{ id: 1 }, { id: 2 }], annotations, ...more });
const categories = [
  { id: 1, name: 'person' },
  { id: 18, name: 'dog' },
];
const labels = {
  'instances_val2014.json': coco(
    [
      { image_id: 1, category_id: 18 },
      { image_id: 9, category_id: 1 },
    ],
    { categories },
  ),
  'captions_val2014.json': coco([
    { image_id: 1, caption: 'A man and chairs.' },
    { image_id: 2, caption: 'A table.' },
  ]),
};

describe('score', () => {
  const answers = [
    {
      question_id: 0,
      image_id: 'COCO_val2014_000000000001.jpg',
      text: 'A puppy, a puppy and two scooters. The woman.',
    },
    { question_id: 1, image_id: 2, caption: 'The tables.' },
  ];
  test('every mention counts, against instances and captions', async () => {
    // 1: dog (instance), dog, motorcycle (absent), person (of the caption's man); 2: dining table (of the caption)
    // chair_i 1 / 5, chair_s 1 / 2; there: dog person chair | dining table: 3 of 4 named
    // words: A puppy , a puppy and two scooter . The woman . = 12, The table . = 3: 0.01 x 15 / 2
    const { rows } = await evaluateContents('chair', { 'a.jsonl': answers }, labels, { tables });
    assertFigures(rowOf(rows), { n: 2, score: 20, printed: 20, chair_i: 20, chair_s: 50, recall: 75, len: 0.075 });
    assert.equal(rowOf(rows).dialect, 'lemma');
  });

  test('the dialect of a table of singulars', async () => {
    // Without "scooters" in it the word is none: no mention is absent
    const singular = { 'pattern-singular.json': JSON.stringify({ singular: { tables: 'table' } }) };
    const { rows } = await evaluateContents('chair', { 'a.jsonl': answers }, labels, {
      tables: { ...tables, ...singular },
    });
    assertFigures(rowOf(rows), { score: 0, chair_s: 0 });
    assert.equal(rowOf(rows).dialect, 'singularize');
  });

  test('records, rows of objects as labels; a silent caption names none', async () => {
    const record = (id: number, text: string) => ({
      id: `chair/${id}`,
      prompt: 'q',
      meta: { question_id: String(id) },
      responses: [{ text }],
    });
    const rows = [
      { image_id: 3, objects: ['puppy'] },
      { image_id: 4, objects: [] },
    ];
    const records = [record(3, 'A dog and a man.'), record(4, 'It is nice.')];
    const { rows: scored } = await evaluateContents('chair', { 'r.ndjson': records }, { 'l.jsonl': rows }, { tables });
    assertFigures(rowOf(scored), { n: 2, score: 50, chair_s: 50, recall: 100, unparsed: 1 });
  });

  test('what is missing is named', async () => {
    const run = (more: object, label: Record<string, string | object> = labels) =>
      evaluateContents('chair', { 'a.jsonl': answers }, label, more);
    await assert.rejects(
      run({ tables: { 'nltk-english.json': englishTables('x') } }),
      /--tables: expected synonyms\.txt/,
    );
    await assert.rejects(run({ tables: { 'synonyms.txt': SYNONYMS } }), /--tables: expected nltk-english\.json/);
    await assert.rejects(run({ tables }, {}), /expected --labels with COCO's instances_\*\.json/);
    await assert.rejects(
      run({ tables }, { 'i.json': coco([], { images: [{ id: 1 }] }) }),
      /image_id: expected an image of the label files, got 2/,
    );
    const odd = coco([], { categories: [{ id: 1, name: 'zeppelin' }] });
    await assert.rejects(
      run({ tables }, { 'i.json': odd }),
      /categories\[\]\.name: expected a class of synonyms\.txt, got string "zeppelin"/,
    );
    const questions = { 'chair.jsonl': [{ image: '1.jpg' }, { image: '2.jpg' }, { image: '5.jpg' }] };
    const five = { 'i.json': coco([], { images: [{ id: 1 }, { id: 2 }, { id: 5 }] }) };
    await assert.rejects(run({ tables, questions }, five), /1 missing id: 5/);
  });
});

test('pairs of words, qualifiers, the seat of a toilet; a name behind two blanks is never found', async () => {
  const read = async (isTrimmed: boolean) =>
    readCocoObjects([await parseEvalFile('synonyms.txt', Buffer.from(SYNONYMS))], isTrimmed, 'chair');
  const [original, trimmed] = [await read(false), await read(true)];
  const named = (text: string, objects = original) =>
    mentionsOf(joinPairs(text.split(' '), objects), objects).map(({ word }) => word);
  assert.deepEqual(named('baby dog and adult horse'), ['dog']);
  assert.deepEqual(named('passenger train'), ['train']);
  assert.deepEqual(named('wine glas'), ['wine glass']);
  assert.deepEqual(named('bow tie'), ['tie']);
  assert.deepEqual(named('toilet seat'), ['toilet']);
  assert.deepEqual(named('seat of a toilet'), ['toilet']);
  assert.deepEqual(named('seat'), ['seat']);
  assert.deepEqual(named('motor bike'), []);
  assert.deepEqual(named('motor bike', trimmed), ['motor bike']);
  assert.deepEqual(joinPairs(['dining', 'table'], original), ['dining', 'table']);
  assert.deepEqual(joinPairs(['dining', 'table'], trimmed), ['dining table']);
  assert.deepEqual(['COCO_val2014_000000002239.jpg', '000000002239.jpg', '2239'].map(cocoId), ['2239', '2239', '2239']);
});

test('import: the image by its file name or number', async () => {
  const { records, errors } = await importItems('chair', [
    { question_id: 0, image: '000000002239.jpg', text: 'Describe.', category: 'detail' },
    { image_id: 7, question: 'What?' },
  ]);
  assert.deepEqual(errors, []);
  assert.deepEqual(
    records.map(({ id, images, prompt }) => [id, images, prompt]),
    [
      ['chair/2239', ['000000002239.jpg'], 'Describe.'],
      ['chair/7', ['COCO_val2014_000000000007.jpg'], 'What?'],
    ],
  );
  assert.equal((await importOne('objhal', { image_id: 7, question: 'What?' })).id, 'objhal/7');
  assert.match(
    (await importFailure('chair', { text: 'q' }))!,
    /image_id: expected COCO's number of the image, or its file name/,
  );
});
