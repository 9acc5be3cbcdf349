// SPDX-License-Identifier: Apache-2.0
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { describe, test } from 'node:test';
import { evaluateContents, fixture } from '../support/evaluate.ts';
import { assertFigures, rowOf } from '../support/figures.ts';
import { importItems } from '../support/import-stage.ts';

const { tables } = JSON.parse(readFileSync(fixture('golden/eval/nltk.json'), 'utf8'));
// Whatever is no tagdict's is a noun here.
const english = JSON.stringify({
  ...tables,
  tagger: {
    weights: { bias: { NN: 1 } },
    tagdict: { ...tables.tagger.tagdict, is: 'VBZ' },
    classes: ['NN', 'DT', 'VBZ', '.'],
  },
  nouns: { lemmas: ['dog', 'cat', 'sky', 'tree', 'puppy', 'ball', 'light', 'kite'], exceptions: {} },
});
const relation = JSON.stringify({ dog: ['puppy'], cat: [], sky: [], tree: ['kite'], ball: [] });
/** What scripts/tables/amber_similar.py writes: a list for every word. */
const nearTable = (near: Record<string, string[]>, { model = 'en_core_web_lg 3.8.0' } = {}) => {
  const words = ['dog', 'puppy', 'cat', 'sky', 'tree', 'kite', 'ball'];
  const similar = Object.fromEntries(words.map((word) => [word, [word, ...(near[word] ?? [])]]));
  return JSON.stringify({ similar, model, spacy: '3.8.0' });
};
const shared = { 'relation.json': relation, 'safe_words.txt': 'light\n', 'nltk-english.json': english };

const questions = (pairs: [type: string, truth: string][]) =>
  pairs.map(([type, truth], k) => ({ id: k + 1, type, truth }));
const answersTo = (texts: string[]) => texts.map((response, k) => ({ id: k + 1, response }));

describe('questions', () => {
  const labels = questions([
    ...(['yes', 'no', 'no', 'no'].map((truth) => ['discriminative-hallucination', truth]) as [string, string][]),
    ['discriminative-attribute-state', 'no'],
    ['relation', 'yes'],
  ]);

  test('no is the positive class, counters start at 0.001, F1 is made of rounded figures', async () => {
    // existence: Yes No No Yes of yes no no no: right 3 / 4.001 = 75.0, precision 2 / 2.001 = 100.0 (99.95), recall 2 / 3.001 = 66.6
    // F1 = 2 x 1 x 0.666 / (1.666 + 0.001) = 79.9.  state: No of no: 1 / 1.001 = 99.9 thrice, F1 = 2 x 0.999^2 / (1.998 + 0.0001) = 99.9
    // relation: "Yes." is neither: 0, no No said: 0 / 0.001
    const { rows, notes } = await evaluateContents(
      'amber',
      { 'a.json': JSON.stringify(answersTo(['Yes', 'No', 'No', 'Yes', 'No', 'Yes.'])) },
      { 'annotations.json': JSON.stringify(labels) },
    );
    assertFigures(rowOf(rows, 'existence'), {
      n: 4,
      accuracy: 75,
      precision: 100,
      recall: 66.6,
      f1: 79.9,
      printed: 79.9,
    });
    assertFigures(rowOf(rows, 'state'), { accuracy: 99.9, precision: 99.9, recall: 99.9, f1: 99.9 });
    assertFigures(rowOf(rows, 'relation'), { n: 1, accuracy: 0, precision: 0, recall: 0, f1: 0, unparsed: 1 });
    assert.match(notes.join('\n'), /^1 answer is not exactly Yes or No/m);
    // all: right 4 / 6.001 = 66.7, precision 3 / 3.001 = 100.0, recall 3 / 4.001 = 75.0, F1 = 1.5 / 1.7501 = 85.7
    assertFigures(rowOf(rows), { n: 6, accuracy: 66.7, precision: 100, recall: 75, f1: 85.7, score: 150 / 1.7501 });
  });

  test('strict: parses yes and no, without the bugs of the script; records', async () => {
    // yes no no no no yes: all right
    const texts = ['Yes, there is.', 'No.', 'There is no dog', 'no', 'It is not', 'yes'];
    const records = labels.map(({ id, type, truth }, k) => ({
      ...{ id: `amber/${id}`, prompt: 'q', images: ['a.jpg'], reference: truth },
      meta: { question_id: String(id), type },
      responses: [{ text: texts[k]! }],
    }));
    const { rows } = await evaluateContents('amber', { 'r.ndjson': records }, {}, { parse: 'strict' });
    assertFigures(rowOf(rows), { n: 6, score: 100, accuracy: 100, f1: 100, unparsed: 0, clusters: 1 });
    assert.equal(rowOf(rows).printed, undefined);
  });

  test('a kind of questions without answers is excluded; a gap is an error', async () => {
    const annotations = { 'annotations.json': JSON.stringify(labels) };
    const some = await evaluateContents(
      'amber',
      { 'a.json': JSON.stringify(answersTo(['Yes', 'No', 'No', 'Yes'])) },
      annotations,
    );
    assertFigures(rowOf(some.rows), { n: 4 });
    assert.match(some.notes.join('\n'), /no answer to any of the 1 attribute question/);
    await assert.rejects(
      evaluateContents('amber', { 'a.json': JSON.stringify(answersTo(['Yes', 'No'])) }, annotations),
      /2 missing ids: 3, 4/,
    );
  });
});

describe('descriptions', () => {
  const labels = [
    { id: 1, type: 'generative', truth: ['dog', 'sky'], hallu: ['cat', 'tree'] },
    { id: 2, type: 'generative', truth: ['ball'], hallu: ['dog'] },
  ];
  // 1: puppy stands for dog (covered), light is safe, kite stands for tree (hallucinated, imagined), ball is hallucinated
  // 2: cats -> cat is hallucinated, and not among what is imagined there
  const texts = ['A puppy, the light and a kite. The balls is the house.', 'The cats.'];
  const run = (more: Record<string, string> = {}, options = {}) =>
    evaluateContents(
      'amber',
      { 'a.json': JSON.stringify(answersTo(texts)) },
      { 'annotations.json': JSON.stringify(labels) },
      { tables: { ...shared, ...more }, ...options },
    );

  test('CHAIR, cover, Hal and Cog', async () => {
    // nouns of the vocabulary: puppy kite ball | cat (light is in no list, so it is none): 3 of 4 absent = 75.0 (3 / 4.001)
    // cover 1 / 3.001 = 33.3, Hal 100 - 0 = 100, Cog 1 / 3.001 = 33.3
    const { rows } = await run();
    const row = rowOf(rows, 'all');
    assertFigures(row, {
      n: 2,
      exact_chair: 75,
      exact_cover: 33.3,
      exact_hal: 100,
      exact_cog: 33.3,
      score: 300 / 4.001,
    });
    assert.deepEqual([row.similar, row.chair], ['none', undefined], 'not by the official name');
    const strict = await run({}, { parse: 'strict' });
    assertFigures(rowOf(strict.rows), { exact_chair: 75, exact_cover: 100 / 3, exact_hal: 100, exact_cog: 100 / 3 });
  });

  test('near words: they cover, and mark what is imagined', async () => {
    // ball is near sky: covered, so no hallucination; cat is near dog: imagined in 2, still a hallucination
    // absent: kite, cat of 4: 50.0; cover 2 / 3.001 = 66.6; Hal: both have one; Cog: tree, dog: 2 / 3.001 = 66.6
    const { rows } = await run({ 'amber-similar.json': nearTable({ ball: ['sky'], cat: ['dog'] }) });
    assertFigures(rowOf(rows), { chair: 50, cover: 66.6, hal: 100, cog: 66.6 });
    assert.equal(rowOf(rows).similar, 'en_core_web_lg 3.8.0');
    assert.equal(rowOf(rows).exact_chair, undefined);
  });

  test("a table of other vectors, or of other words, is none of AMBER's", async () => {
    const refused = (table: string, message: RegExp) => assert.rejects(run({ 'amber-similar.json': table }), message);
    await refused(
      nearTable({}, { model: 'en_core_web_md 3.8.0' }),
      /amber-similar\.json:1: model: expected en_core_web_lg and its version .*, got string "en_core_web_md 3\.8\.0"/,
    );
    await refused(JSON.stringify({ similar: {} }), /model: expected en_core_web_lg and its version .*, got nothing/);
    await refused(
      JSON.stringify({ similar: { dog: ['dog'] }, model: 'en_core_web_lg 3.8.0' }),
      /similar\.puppy: expected a list for every word of relation\.json, got nothing/,
    );
    await refused(
      JSON.stringify({ similar: [], model: 'en_core_web_lg 3.8.0' }),
      /similar: expected an object of lists of words, got/,
    );
  });

  test('with questions: the sum of the paper', async () => {
    const both = [...labels, { id: 3, type: 'discriminative-hallucination', truth: 'no' }];
    const { rows } = await evaluateContents(
      'amber',
      { 'a.json': JSON.stringify(answersTo([...texts, 'No'])) },
      { 'annotations.json': JSON.stringify(both) },
      { tables: shared },
    );
    // F1 of one right No: 2 x 0.999^2 / 1.9981 = 99.9; (100 - 75 + 99.9) / 2
    assertFigures(rowOf(rows), { n: 3, exact_chair: 75, f1: 99.9, exact_amber_score: 62.45, score: 62.45 });
    assertFigures(rowOf(rows, 'generative'), { n: 2, exact_chair: 75 });
  });

  test('tables that are missing are named', async () => {
    await assert.rejects(
      evaluateContents('amber', { 'a.json': JSON.stringify(answersTo(texts)) }, { 'l.json': JSON.stringify(labels) }),
      /--tables: expected relation\.json, safe_words\.txt, nltk-english\.json \(scripts\/tables\/nltk_english\.py\), got none/,
    );
  });
});

test('import: queries, and what is true of them', async () => {
  const items = [
    { id: 1, image: 'AMBER_1.jpg', query: 'Describe this image.' },
    { id: 1005, image: 'AMBER_1.jpg', query: 'Is the sky sunny?' },
    { id: 1, type: 'generative', truth: ['sky'], hallu: ['sun'] },
    { id: 1005, type: 'discriminative-attribute-state', truth: 'yes' },
  ];
  const { records, errors } = await importItems('amber', items);
  assert.deepEqual(errors, []);
  assert.deepEqual(records, [
    {
      ...{ id: 'amber/1', images: ['AMBER_1.jpg'], prompt: 'Describe this image.', source: 'amber' },
      meta: { question_id: '1', type: 'generative', truth: ['sky'], hallu: ['sun'] },
    },
    {
      ...{ id: 'amber/1005', images: ['AMBER_1.jpg'], prompt: 'Is the sky sunny?', source: 'amber', reference: 'yes' },
      meta: { question_id: '1005', type: 'discriminative-attribute-state' },
    },
  ]);
  const { errors: unknown } = await importItems('amber', [items[1]!, items[2]!]);
  assert.match(unknown[0]!, /id: expected an id of annotations\.json, got number 1005/);
});
