// SPDX-License-Identifier: Apache-2.0
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { rowId } from '../../../src/benchmarks/scoring/answers.ts';
import { parseEvalFile, splitTable } from '../../../src/benchmarks/scoring/file.ts';
import { evaluateContents } from '../../support/evaluate.ts';

const parse = (path: string, text: string) => parseEvalFile(path, Buffer.from(text));
const values = async (path: string, text: string) => (await parse(path, text)).rows.map(({ value }) => value);

describe('forms of files', () => {
  test('JSON lines, arrays, objects on one line or many, whatever the name', async () => {
    assert.deepEqual(await values('a.json', '{"a":1}\n\n{"a":2}\n'), [{ a: 1 }, { a: 2 }]);
    assert.deepEqual(await values('a.jsonl', '[\n{"a":1},\n{"a":2}]'), [{ a: 1 }, { a: 2 }]);
    assert.deepEqual((await parse('a.json', '\ufeff{\n "a": {"b": 1}\n}\n')).object, { a: { b: 1 } });
    assert.deepEqual((await parse('a.json', '{"a": {"b": 1}}\n')).object, { a: { b: 1 } });
    assert.equal((await parse('a.json', '{"a":1}\n{"a":2}')).object, undefined);
    assert.deepEqual(await values('a.json', '  \n'), []);
  });
  test("Python's NaN, in an array, an object, a line", async () => {
    assert.deepEqual(await values('a.json', '[{"a": NaN}]'), [{ a: Number.NaN }]);
    assert.deepEqual(await values('a.json', '{"a": NaN}\n{"a": "NaN"}'), [{ a: Number.NaN }, { a: 'NaN' }]);
    assert.deepEqual((await parse('a.json', '{\n"a": [-Infinity]}')).object, { a: [Number.NEGATIVE_INFINITY] });
  });
  test('ids beyond 2^53 stay two, in lines, arrays and beside NaN', async () => {
    const lines = '{"question_id":675127116845989801}\n{"question_id":675127116845989802}';
    const array = '[{"question_id":675127116845989801,"x":NaN},\n{"question_id":675127116845989802}]';
    for (const text of [lines, array]) {
      const { rows } = await parse('a.json', text);
      assert.deepEqual(
        rows.map(({ value, at }) => rowId(value, at)),
        ['675127116845989801', '675127116845989802'],
      );
    }
  });
  test('hash and stem', async () => {
    const file = await parse('x/coco_pope_random.json', '{}');
    assert.equal(file.stem, 'coco_pope_random');
    assert.equal(file.sha256, '44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a');
  });
  test('what is no JSON is named by place', async () => {
    await assert.rejects(parse('a.json', '[{"a":1},'), /a\.json:1: file: expected JSON, got bad JSON/);
    await assert.rejects(parse('a.json', '{"a":1}\n{"a"'), /a\.json:2: record: expected a JSON object/);
    await assert.rejects(parse('a.json', '{\n "a": [1,\n}'), /a\.json:1: file: expected JSON/);
    await assert.rejects(parse('a.json', '[1]'), /a\.json:1: entry: expected a JSON object, got number 1/);
    await assert.rejects(parse('a.json', '7'), /a\.json:1: record: expected a JSON object, got number 7/);
    await assert.rejects(parseEvalFile('a.json', Buffer.from([0x7b, 0xff])), /expected UTF-8/);
    await assert.rejects(parseEvalFile('a.xlsx', Buffer.from('PK\x03\x04junk')), /cut short/);
  });
  test('tables: quotes, delimiters and line breaks inside, CR LF, empty cells', () => {
    assert.deepEqual(splitTable('a\tb\r\n"x ""y"" z"\t"1\n2"\n\tq\nr\t', '\t'), [
      ['a', 'b'],
      ['x "y" z', '1\n2'],
      ['', 'q'],
      ['r', ''],
    ]);
    assert.deepEqual(splitTable('a,b\n"1,2",3', ','), [
      ['a', 'b'],
      ['1,2', '3'],
    ]);
    assert.deepEqual(splitTable('', '\t'), []);
  });
});

describe('edges of scorers', () => {
  test('alpaca-eval: null is failed, 0 a draw, unparsable raw replies are unparsed', async () => {
    const row = (instruction: string, more: object) => ({
      instruction,
      output_1: 'a',
      output_2: 'b',
      generator_2: 'm',
      ...more,
    });
    const { rows } = await evaluateContents('alpaca-eval', {
      'a.json': [
        row('1', { preference: null }),
        row('2', { preference: 0 }),
        row('3', { preference: 2 }),
        row('4', { raw_completion: 'model_1 wins' }),
      ],
    });
    const { n, score, n_draws, failed, unparsed } = rows.at(-1)!;
    assert.deepEqual([n, score, n_draws, failed, unparsed], [2, 75, 1, 2, 1]);
  });
  test('seed-bench: a missing answer is wrong in official mode, left out in strict', async () => {
    const question = (id: string, answer: string) => ({
      question_id: id,
      answer,
      data_id: id,
      data_type: 'image',
      question_type_id: 1,
      choice_a: 'x',
      choice_b: 'y',
      choice_c: 'z',
      choice_d: 'w',
    });
    const labels = {
      'SEED-Bench.json': { questions: [question('1', 'A'), question('2', 'B')], question_type: { Scene: 1 } },
    };
    const answers = { 'a.jsonl': [{ question_id: 1, text: 'A' }] };
    const run = async (parse: 'official' | 'strict') =>
      (await evaluateContents('seed-bench', answers, labels, { allowMissing: true, parse })).rows.at(-1)!;
    assert.deepEqual([(await run('official')).score, (await run('official')).missing], [50, 1]);
    assert.deepEqual([(await run('strict')).score, (await run('strict')).n], [100, 1]);
  });
  test('the same id in two splits needs the split', async () => {
    const label = (answer: string) => [{ question_id: 1, image: 'a', text: 'q', label: answer }];
    const labels = { 'coco_pope_random.json': label('yes'), 'coco_pope_popular.json': label('no') };
    await assert.rejects(
      evaluateContents('pope', { 'a.jsonl': [{ question_id: 1, text: 'Yes' }] }, labels),
      /a\.jsonl:1: split: expected one of random, popular, since id 1 is in each of them, got nothing/,
    );
    const answers = ['random', 'popular'].map((split) => ({ question_id: 1, category: split, text: 'Yes' }));
    const { rows } = await evaluateContents('pope', { 'a.jsonl': answers }, labels);
    assert.deepEqual(
      rows.map(({ split, n }) => [split, n]),
      [
        ['random', 1],
        ['popular', 1],
        ['all', 2],
      ],
    );
  });
  test('an option that pandas reads as missing is none', async () => {
    const table = 'index\tquestion\tA\tB\tC\tanswer\tcategory\tl2-category\n1\tWhat?\tdog\tNone\tcat\tA\tx\ty\n';
    const run = async (text: string) =>
      (await evaluateContents('mmbench', { 'a.jsonl': [{ question_id: 1, text }] }, { 'm.tsv': table })).rows.at(-1)!
        .score;
    assert.equal(await run('A'), 100);
    assert.equal(await run('B: dog'), 100, 'B is no option, and the text of A is in the answer');
  });
});
