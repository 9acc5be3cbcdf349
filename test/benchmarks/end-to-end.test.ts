// SPDX-License-Identifier: Apache-2.0
// The demo model answers the demo questions and scores what its reference answers score: import | sample | eval.
import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { fixture } from '../support/evaluate.ts';
import { root, runShell } from '../support/run-cli.ts';

const folder = fixture('demo/data/test');
const { scores } = JSON.parse(readFileSync(join(folder, 'reference_scores.json'), 'utf8'));
const skip = existsSync(join(root, 'build/native/vpref_cpu.node')) ? false : 'the native engine is not built';
const sample = `vpref sample -q --model ${fixture('demo/tiny-llava')} --max-new-tokens 60`;

async function rowsOf(line: string) {
  const { stdout, stderr, code } = await runShell(line, { cwd: folder });
  assert.equal(code, 0, stderr);
  return stdout
    .trim()
    .split('\n')
    .map((row) => JSON.parse(row));
}

test('POPE', { skip }, async () => {
  const files = 'pope_random.json pope_popular.json pope_adversarial.json';
  const rows = await rowsOf(
    `vpref import pope ${files} --image-root images | ${sample} | vpref eval pope --labels ${files}`,
  );
  for (const { split, f1, yes_ratio } of rows.slice(0, 3)) {
    const expected = scores[`pope_${split}`];
    assert.deepEqual({ f1, yes_ratio }, { f1: expected.f1, yes_ratio: expected.yes_ratio }, split);
  }
});

test('captions', { skip }, async () => {
  const record = '{id: "c\\(.question_id)", images: ["images/" + .image], prompt: .text, meta: {question_id}}';
  const [row] = await rowsOf(
    `jq -c '${record}' captions.jsonl | ${sample} | vpref eval hallucination --labels captions.jsonl`,
  );
  const { chair_i, chair_s, recall, f1, mentions } = row;
  assert.deepEqual({ chair_i, chair_s, recall, f1, mentions }, scores.captions);
});
