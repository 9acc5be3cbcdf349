// SPDX-License-Identifier: Apache-2.0
// The page in a real browser: what a person sees is there, and hostile text stays text.
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { root, runCli } from '../support/run-cli.ts';

const folder = mkdtempSync(join(tmpdir(), 'vpref-report-'));
after(() => rmSync(folder, { recursive: true, force: true }));

const chromium = ['chromium', 'chromium-browser', 'google-chrome'].find(
  (name) => spawnSync(name, ['--version'], { stdio: 'ignore' }).status === 0,
);

/** The page's DOM after its script ran. */
function domOf(page: string, ...flags: string[]): string {
  const common = ['--headless=new', '--no-sandbox', '--disable-gpu', '--virtual-time-budget=5000'];
  const options = { encoding: 'utf8' as const, stdio: ['ignore', 'pipe', 'ignore'] as ['ignore', 'pipe', 'ignore'] };
  return execFileSync(chromium!, [...common, ...flags, '--dump-dom', `file://${page}`], {
    ...options,
    maxBuffer: 1 << 28,
  });
}

const image = join(root, 'fixtures/demo/data/test/images/scene_0000.jpg');
const hostile = '</script><script>document.title="taken"</script><img src=x onerror=alert(1)>';
const rows = [
  ...Array.from({ length: 50 }, (_, step) => ({
    step: step + 1,
    epoch: step / 50,
    loss: 1 / (step + 1),
    grad_norm: 1,
  })),
  { benchmark: 'pope', split: 'adversarial', n: 300, score: 86.51, low: 84, high: 89 },
  ...Array.from({ length: 10_000 }, (_, id) => ({
    id: String(id),
    images: [image],
    prompt: id === 0 ? hostile : 'Describe the image.',
    chosen: 'a bee on the left',
    rejected: `a snail on the left ${id}`,
  })),
];

test('10,000 pairs, a curve and a score in one file', { skip: chromium ? false : 'no chromium here' }, async () => {
  const input = join(folder, 'all.ndjson');
  const page = join(folder, 'report.html');
  writeFileSync(input, rows.map((row) => `${JSON.stringify(row)}\n`).join(''));
  const { code, stderr } = await runCli(['report', '--title', 'A <b>title</b>', input, '-o', page]);
  assert.equal(code, 0, stderr);
  const dom = domOf(page);
  assert.match(dom, /<title>A &lt;b&gt;title&lt;\/b&gt;<\/title>/);
  assert.equal(dom.match(/<canvas/g)?.length, 2, 'loss and gradient norm');
  assert.match(dom, /86\.51<span class="interval"> \[84\.00, 89\.00\]/);
  assert.equal(dom.match(/<article/g)?.length, 20);
  assert.match(dom, /1-20 of 10,000/);
  assert.match(dom, /<ins>bee<\/ins>/);
  assert.match(dom, /<del>snail<\/del>/);
  assert.match(dom, /data:image\/webp;base64/);
  assert.doesNotMatch(dom, /<img src="x"/);
  assert.doesNotMatch(dom, /(src|href)="https?:/);
});

test('nothing to show is said', async () => {
  const { code, stderr } = await runCli(['report'], { input: '{"a":1}\n' });
  assert.equal(code, 2);
  assert.match(stderr, /expected records, metric rows or score rows, got none/);
});
