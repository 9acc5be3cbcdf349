// SPDX-License-Identifier: Apache-2.0
// The demo model's stored answers give its stored scores, digit for digit.
// Covers src/benchmarks/exact/score.ts
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { evaluate, fixture } from '../support/evaluate.ts';

const folder = fixture('demo/data/test');
const { scores } = JSON.parse(readFileSync(`${folder}/reference_scores.json`, 'utf8'));
const answers = [`${folder}/reference_answers.jsonl`];

test('POPE splits of the demo', async () => {
  const labels = ['random', 'popular', 'adversarial'].map((split) => `${folder}/pope_${split}.json`);
  const { rows, notes } = await evaluate('pope', answers, labels);
  for (const row of rows.slice(0, 3)) {
    const { acc, ...others } = scores[`pope_${row.split}`];
    const { accuracy, precision, recall, f1, yes_ratio } = row;
    assert.deepEqual({ accuracy, precision, recall, f1, yes_ratio }, { accuracy: acc, ...others });
    assert.equal(row.score, 100 * others.f1);
    assert.equal(row.n, 300);
  }
  const all = rows.at(-1)!;
  const mean = ['random', 'popular', 'adversarial'].reduce((sum, split) => sum + scores[`pope_${split}`].f1, 0) / 3;
  assert.deepEqual([all.split, all.n, all.score], ['all', 900, 100 * mean]);
  assert.deepEqual(notes, ['802 answers of other label files are skipped']);
});

test('captions of the demo', async () => {
  const { rows } = await evaluate('hallucination', answers, [`${folder}/captions.jsonl`]);
  const { chair_i, chair_s, recall, f1, mentions } = rows[0]!;
  assert.deepEqual({ chair_i, chair_s, recall, f1, mentions }, scores.captions);
  assert.equal(rows[0]!.score, 100 * scores.captions.chair_i);
});

test('other questions of the demo', async () => {
  const { rows } = await evaluate('exact', answers, [`${folder}/vqa.jsonl`]);
  for (const kind of ['count', 'colour', 'word', 'relation']) {
    const row = rows.find(({ split }) => split === kind)!;
    assert.equal((row.correct as number) / row.n, scores[kind], kind);
  }
});
