// SPDX-License-Identifier: Apache-2.0
// The page in a real browser: what a person sees is there, and hostile text stays text.
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { chromium, domOf, withoutChromium } from '../support/chromium.ts';
import { root, runCli } from '../support/run-cli.ts';

const folder = mkdtempSync(join(tmpdir(), 'vpref-report-'));
after(() => rmSync(folder, { recursive: true, force: true }));

const image = join(root, 'fixtures/demo/data/test/images/scene_0000.jpg');
const hostile = '</script><script>document.title="taken"</script><img src=x onerror=alert(1)>';
const rows = [
  ...Array.from({ length: 50 }, (_, step) => ({
    step: step + 1,
    epoch: step / 50,
    loss: 1 / (step + 1),
    grad_norm: 1,
  })),
  { benchmark: 'pope', split: 'adversarial', n: 300, score: 86.51, ci95: [84, 89] },
  ...Array.from({ length: 10_000 }, (_, id) => ({
    id: String(id),
    images: [image],
    prompt: id === 0 ? hostile : 'Describe the image.',
    chosen: 'a bee on the left',
    rejected: `a snail on the left ${id}`,
  })),
];

test('10,000 pairs, a curve and a score in one file', { skip: withoutChromium }, async () => {
  const input = join(folder, 'all.ndjson');
  const page = join(folder, 'report.html');
  writeFileSync(input, rows.map((row) => `${JSON.stringify(row)}\n`).join(''));
  const { code, stderr } = await runCli(['report', '--title', 'A <b>title</b>', input, '-o', page]);
  assert.equal(code, 0, stderr);
  const dom = domOf(page);
  assert.match(dom, /<title>A &lt;b&gt;title&lt;\/b&gt;<\/title>/);
  assert.equal(dom.match(/<figure class="chart"/g)?.length, 2, 'loss and gradient norm');
  assert.match(dom, /86\.51<span class="interval"> \[84\.00, 89\.00\]/);
  assert.equal(dom.match(/<article/g)?.length, 20);
  assert.match(dom, /1-20 of 10,000/);
  assert.match(dom, /<ins>bee<\/ins>/);
  assert.match(dom, /<del>snail<\/del>/);
  assert.match(dom, /data:image\/webp;base64/);
  assert.doesNotMatch(dom, /<img src="x"/);
  assert.doesNotMatch(dom, /(src|href)="https?:/);
});

const scoreRows = [
  { benchmark: 'pope', split: 'all', n: 9, score: 80, ci95: [79, 81], params: { step: 500, seed: 0 } },
  { benchmark: 'pope', split: 'all', n: 9, score: 82, ci95: [81, 83], params: { step: 800, seed: 0 } },
];

test('--by charts the scores; NAME=FILE names a run; rows of no known kind are counted', async () => {
  const cells = join(folder, 'cells.ndjson');
  const base = join(folder, 'x.ndjson');
  writeFileSync(cells, [...scoreRows, { hello: 1 }].map((row) => `${JSON.stringify(row)}\n`).join(''));
  writeFileSync(base, `${JSON.stringify({ ...scoreRows[0], params: undefined })}\n`);
  const page = join(folder, 'by.html');
  const { code, stderr } = await runCli(['report', '--by', 'step', cells, `before=${base}`, '-o', page]);
  assert.equal(code, 0, stderr);
  assert.match(stderr, /1 row skipped: not a record, metric or score row/);
  if (chromium === undefined) return;
  const dom = domOf(page);
  assert.match(dom, /aria-label="pope, by step\. pope: 80 at 500 to 82 at 800; before: 80\./);
  assert.match(dom, /pope <b>82 \[81, 83\]<\/b> at 800/);
});

test('--by a parameter that no row has is refused', async () => {
  const { code, stderr } = await runCli(['report', '--by', 'size'], { input: `${JSON.stringify(scoreRows[0])}\n` });
  assert.equal(code, 2);
  assert.match(stderr, /--by size: expected score rows with params\.size, got only step, seed/);
});

test('nothing to show is an error', async () => {
  const { code, stderr } = await runCli(['report'], { input: '{"a":1}\n' });
  assert.equal(code, 2);
  assert.match(stderr, /expected records, metric rows or score rows, got none/);
});
