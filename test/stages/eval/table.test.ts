// SPDX-License-Identifier: Apache-2.0
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { benchmarks } from '../../../src/benchmarks/by-name.ts';
import { formatScoreTable } from '../../../src/stages/eval/table.ts';

test("the papers' figures stand in the split they are the score of", () => {
  const score = (benchmark: string, method: string, split: string) =>
    benchmarks.get(benchmark)!.published!.find((row) => row.method === method && row.scores[split] !== undefined)
      ?.scores[split];
  assert.equal(score('pope', 'SeVa-7B', 'all'), 86.7);
  assert.equal(score('pope', 'SeVa-7B, diffusion (weak)', 'adversarial'), 83.6);
  assert.equal(score('mmvet', 'SeVa-7B, diffusion (weak)', 'spat'), 34.3);
  assert.equal(score('mmbench', 'LLaVA-1.5-13B', 'all'), 67.7);
  assert.equal(score('mmbench', 'SeVa-7B', 'all (cn)'), 59.2);
  assert.equal(score('seed-bench', 'LLaVA-1.5-13B', 'image'), 68.2);
  assert.equal(score('scienceqa', 'SeVa-13B', 'image'), 71.2);
  assert.equal(score('mt-bench', 'DPO', 'all'), 6.73);
  assert.equal(score('mt-bench', 'DPO, noisy image', 'all'), 6.63);
  assert.equal(score('alpaca-eval', 'SteerLM', 'all'), 68.8);
  assert.equal(score('pope', 'SeVa-7B, moco', 'random'), 89.1);
  assert.equal(score('mmvet', 'SeVa-7B, COCO 4k', 'all'), 31.2);
  assert.equal(score('mmbench', 'SeVa-7B, LoRA 512', 'all'), 65.5);
  assert.equal(score('shr', 'SeVa-7B, step 500', 'all'), 32.7);
  assert.equal(score('scienceqa', 'SeVa-7B, moco', 'image'), 67.1);
  assert.equal(score('consistency', 'SeVa-7B', 'temperature=0.9'), 8.255);
  assert.equal(benchmarks.get('rewards')!.published, undefined);
});

test('a table: columns for what is there, published rows of the splits shown', () => {
  const lines = formatScoreTable('shr', [
    {
      benchmark: 'shr',
      split: 'all',
      n: 200,
      score: 34.9,
      ci95: [32.05, 37.8],
      clusters: 200,
      failed: 0,
      hal_words_ratio: 0.351,
      labels_sha256: 'x'.repeat(64),
      parse: 'official',
    },
  ]);
  assert.deepEqual(lines.slice(0, 5), [
    'shr (--parse official)',
    'split    n  score  95 % interval  hal_words_ratio',
    'all    200  34.90  32.05 - 37.80            0.351',
    '',
    'published',
  ]);
  assert.ok(lines.some((line) => /^all\s+SeVa-7B\s+34\.90\s+\+0\.00\s+SeVa table 2$/.test(line)));
  assert.ok(
    lines.some((line) => /^all\s+LLaVA-1\.5-13B\s+37\.20\s+-2\.30\s+SeVa table 2$/.test(line)),
    'ours minus theirs',
  );
});

test('an undefined score is a dash, models and counts have their columns', () => {
  const row = { benchmark: 'pope', split: 'random', n: 0, score: null, ci95: null };
  const lines = formatScoreTable('pope', [
    { ...row, model: 'a', failed: 2 },
    { ...row, model: 'b', failed: 0 },
  ]);
  assert.deepEqual(
    lines.slice(1, 4).map((line) => line.split(/\s{2,}/)),
    [
      ['split', 'model', 'n', 'score', '95 % interval', 'failed'],
      ['random', 'a', '0', '-', '2'],
      ['random', 'b', '0', '-', '0'],
    ],
  );
});

test('a narrow terminal: figures that do not fit follow in blocks, without empty rows', () => {
  const row = { benchmark: 'gqa', n: 10, score: 50, ci95: null };
  const lines = formatScoreTable(
    'gqa',
    [
      { ...row, split: 'binary' },
      { ...row, split: 'all', distribution: 1.5, consistency: 80.25, plausibility: 90.125 },
    ],
    40,
  );
  assert.deepEqual(lines.slice(0, lines.indexOf('published') - 1), [
    'gqa',
    'split    n  score  95 % interval',
    'binary  10     50',
    'all     10     50',
    '',
    'split  distribution  consistency',
    'all           1.500        80.25',
    '',
    'split  plausibility',
    'all           90.13',
  ]);
});

test('what a paper draws without numbers is named below its rows', () => {
  const row = { benchmark: 'mmvet', split: 'all', n: 218, score: 35, ci95: null };
  assert.deepEqual(formatScoreTable('mmvet', [row]).slice(-3), [
    'SeVa figure 2 (MM-Vet with augmented pictures, no training) has no printed numbers',
    'SeVa figure 7 (b) (MM-Vet by noise step) has no printed numbers',
    'SeVa figure 5 (wins and losses of SeVa against LLaVA-1.5, and lengths) has no printed numbers',
  ]);
});
