// SPDX-License-Identifier: Apache-2.0
// Covers src/stages/import/dataset-info.ts
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readDatasetEntry } from '../../../src/stages/import/dataset-info.ts';

const at = { source: 'f', line: 1 };
const convert = (entry: object, row: unknown) =>
  readDatasetEntry({ file_name: 'rows.json', ...entry }, 'info.json#mine').convert(row, at, '');

test('columns and tags of a sharegpt entry become the usual ones', () => {
  const entry = {
    formatting: 'sharegpt',
    ranking: true,
    columns: { messages: 'talk', chosen: 'good', rejected: 'bad', images: 'pics' },
    tags: { role_tag: 'who', content_tag: 'says', user_tag: 'guest', assistant_tag: 'host', system_tag: 'rules' },
  };
  const row = {
    talk: [
      { who: 'rules', says: 'Be brief.' },
      { who: 'guest', says: '<image>What?' },
    ],
    good: { who: 'host', says: 'A heron.' },
    bad: { who: 'host', says: 'A duck.' },
    pics: ['1.jpg'],
    id: 7,
  };
  assert.deepEqual(convert(entry, row), {
    conversations: [
      { from: 'system', value: 'Be brief.' },
      { from: 'human', value: '<image>What?' },
    ],
    chosen: { from: 'gpt', value: 'A heron.' },
    rejected: { from: 'gpt', value: 'A duck.' },
    images: ['1.jpg'],
    id: 7,
  });
});

test('columns of an alpaca entry; without columns the rows are as they are', () => {
  const columns = { prompt: 'q', query: 'more', response: 'a' };
  assert.deepEqual(convert({ columns }, { q: '1', more: '2', a: '3' }), { instruction: '1', input: '2', output: '3' });
  const row = { instruction: '1', input: '', output: '3' };
  assert.deepEqual(convert({}, row), row);
});

test('a column that the entry names and the row lacks, or the other way round, is an error', () => {
  const columns = { prompt: 'q', response: 'a' };
  assert.throws(() => convert({ columns }, { q: '1' }), /f:1: a: expected a column, the entry's response, got nothing/);
  assert.throws(
    () => convert({ columns }, { q: '1', a: '2', system: 'x' }),
    /f:1: system: expected a column that the entry's columns name \(q, a\), got string "x"/,
  );
});

test('an entry that we would read otherwise than LLaMA-Factory is refused by key', () => {
  const refused = (entry: object, message: RegExp) =>
    assert.throws(() => convert(entry, {}), { name: 'UsageError', message });
  refused({ hf_hub_url: 'a/b' }, /info\.json#mine: hf_hub_url: expected a file in file_name/);
  refused({ formatting: 'openai' }, /formatting: expected alpaca or sharegpt, got string "openai"/);
  refused({ num_samples: 5 }, /num_samples: /);
  refused({ split: 'test' }, /split: expected train, got string "test"/);
  refused({ columns: { answer: 'a' } }, /columns\.answer: expected one of prompt, query/);
  refused({ columns: { chosen: 'c', rejected: 'r' } }, /ranking: expected true with chosen and rejected/);
  refused({ columns: { prompt: 'p' }, ranking: true }, /ranking: expected chosen and rejected in columns/);
  refused({ tags: { role_tag: 1 } }, /tags\.role_tag: expected a text, got number 1/);
  refused({ file_name: undefined }, /file_name: expected the name of a file/);
});
