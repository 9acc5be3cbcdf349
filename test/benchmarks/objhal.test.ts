// SPDX-License-Identifier: Apache-2.0
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { englishTables } from '../support/english.ts';
import { evaluateContents } from '../support/evaluate.ts';
import { assertFigures, rowOf } from '../support/figures.ts';

describe('the official review file', () => {
  const sentence = (image_id: number, caption: string, named: [string, string][], truth: string[]) => ({
    ...{ image_id, caption, mscoco_generated_words: named, mscoco_gt_words: truth },
    ...{ mscoco_hallucinated_words: [], hallucination_idxs: [], words: [], metrics: { CHAIRs: 0, CHAIRi: 0 } },
  });
  const sentences = [
    sentence(
      1,
      'a puppy and a man',
      [
        ['puppy', 'dog'],
        ['man', 'person'],
      ],
      ['dog'],
    ),
    sentence(2, 'a cat', [['cat', 'cat']], ['cat', 'tie', 'bus']),
    sentence(3, 'it is nice here now', [], ['bus']),
  ];
  test('answers that name an object of COCO are the base; recall, length', async () => {
    // wrong: man of 1. Response 1 / 2, of all answers 1 / 3, objects 1 / 3; found: dog, cat of 5; words 5 2 5
    const { rows } = await evaluateContents('objhal', {
      'hall.json': JSON.stringify({ sentences, overall_metrics: {} }),
    });
    assertFigures(rowOf(rows), {
      ...{ n: 3, score: 50, response_hall: 50, object_hall: 100 / 3, chair_s: 100 / 3, recall: 40, length: 4 },
      ...{ coco_sentences: 2, failed: 0 },
    });
  });
  test('what is none is named', async () => {
    await assert.rejects(
      evaluateContents('objhal', { 'a.json': '{"overall_metrics": {}}' }),
      /a\.json:1: sentences: expected the sentences of a review file/,
    );
    const odd = { sentences: [{ ...sentences[0], mscoco_generated_words: ['dog'] }] };
    await assert.rejects(
      evaluateContents('objhal', { 'a.json': JSON.stringify(odd) }),
      /mscoco_generated_words: expected a list of \[word, class\]/,
    );
  });
});

describe('records judged with guide objects', () => {
  const tables = {
    'synonyms_refine.txt': 'person, man\ndog, puppy\nsports ball, ball\ndining table, table\nkite\n',
    'nltk-english.json': englishTables('man dog puppy sport ball table kitchen kite tree', {
      red: 'JJ',
      sports: 'NNS',
    }),
  };
  const record = (id: number, text: string, annotation: object) => ({
    ...{ id: `objhal/${id}`, prompt: 'q', meta: { question_id: String(id) }, responses: [{ text }] },
    annotations: [{ guide: 'objects', judge: 'j', run: 1, outcome: 'ok', ...annotation }],
  });
  const names = (...list: string[]) => ({ verdict: [{ names: list }] });
  const labels = [1, 2, 3, 4].map((image_id) => ({ image_id, objects: image_id === 1 ? ['dog', 'ball'] : ['kite'] }));

  test('names: nouns without what describes them, pairs, each once; short answers name none, failed calls are out', async () => {
    // 1: red puppies -> puppy; puppy again; "kitchen table" is one noun and none of COCO's; ball (there): dog and ball right
    // 2: "kite and man": kite there, man absent.  3: short, none.  4: the call failed
    // responses: 1 of 2 that name any; objects 1 of 4; found dog, sports ball, kite of 2 + 1 + 1
    const records = [
      record(1, 'A long answer about a picture', names('red puppy', 'Puppy', 'kitchen table', 'ball')),
      record(2, 'A kite and a man', names('kite and man')),
      record(3, 'A dog there', names('dog')),
      record(4, 'A long answer about it', { outcome: 'refused' }),
    ];
    const { rows, failed } = await evaluateContents(
      'objhal',
      { 'r.ndjson': records },
      { 'l.jsonl': labels },
      { tables },
    );
    assertFigures(rowOf(rows), { n: 3, score: 50, object_hall: 25, recall: 75, coco_sentences: 2, failed: 1 });
    assert.equal(failed, 1);
  });

  test('another guide of that name', async () => {
    const odd = [record(1, 'A long answer about it', { scores: [{ x: 1 }] })];
    await assert.rejects(
      evaluateContents('objhal', { 'r.ndjson': odd }, { 'l.jsonl': labels }, { tables }),
      /annotations\[\]\.verdict: expected the names that guide objects asks for/,
    );
  });
});
