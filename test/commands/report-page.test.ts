// SPDX-License-Identifier: Apache-2.0
// The page with every section: axe-core finds nothing, light and dark, wide and narrow; what it does from the keyboard; what it shows.
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { domOf, withoutChromium } from '../support/chromium.ts';
import { root, runCli } from '../support/run-cli.ts';

const folder = mkdtempSync(join(tmpdir(), 'vpref-page-'));
after(() => rmSync(folder, { recursive: true, force: true }));
const page = join(folder, 'report.html');
const image = join(root, 'fixtures/demo/data/test/images/scene_0000.jpg');

const training = (rate: number) => [
  ...Array.from({ length: 30 }, (_, k) => ({
    ...{ step: k + 1, loss: 0.69 - rate * k, grad_norm: 1 / (k + 1) },
    ...{ 'rewards/chosen': k, 'rewards/rejected': -k, 'rewards/accuracies': k / 30 },
  })),
  ...[0, 10, 20, 30].map((step) => ({
    ...{ step, 'eval/loss': 0.69 - rate * Math.min(step, 20) + rate * Math.max(0, step - 20) },
    ...{ 'eval/rewards/accuracies': 0.5, 'eval/best_step': Math.min(step, 20) },
  })),
  { step: 30, warning: 'eval-worse', message: 'stop earlier' },
  { step: 30, stop_reason: 'early-stop', best_step: 20, best_metric: 'eval/loss', best_value: 0.5, kept_step: 20 },
];
const summary = (lr: number) => ({
  ...{ summary: 'train', rows_read: 8, dropped: {}, failed_left_out: 0, failed_kept: 0, failed_before: 0 },
  ...{ seconds: 4000, ranks: 1, gpu_hours: 1.1, steps: 30, records_learnt: 64, tokens: 9000, peak_memory_bytes: 5e9 },
  settings: { command: 'train', lr, beta: 0.1 },
});
const score = (value: number, params?: object) => ({
  ...{ benchmark: 'pope', split: 'all', n: 900, score: value, ci95: [value - 1, value + 1] },
  ...(params && { params }),
});
const record = {
  ...{
    images: [image],
    prompt: 'What is there?',
    responses: [{ text: 'A bee. A red snail is on the left.' }, { text: 'A bee.' }],
  },
  annotations: [
    {
      ...{
        guide: 'claims',
        judge: 'local:m',
        run: 0,
        outcome: 'ok',
        usage: { input_tokens: 9 },
        scores: [{ p_yes: 0.6 }, { p_yes: 0.9 }],
      },
      claims: [
        [
          { text: 'A bee', p_yes: 0.9, mass: 1 },
          { text: 'There is a snail on the left.', p_yes: 0.2, mass: 1 },
          { text: 'It rains', p_yes: 0.1, mass: 1 },
        ],
        [],
      ],
    },
  ],
};
const files: Record<string, object[]> = {
  'a.metrics': training(0.01),
  'a.summary': [summary(5e-5)],
  'a.scores': [score(81)],
  'b.metrics': training(0.005),
  'b.summary': [summary(0.0015)],
  'b.scores': [score(79)],
  'a.samples': [0, 10, 20].map((step) => ({
    step,
    id: 'q1',
    prompt: 'What is there?',
    response: step < 20 ? 'a bee' : 'a red bee',
    image,
  })),
  cells: [score(80, { step: 500 }), score(82, { step: 800 })],
  pairs: [
    { ...record, id: 'p', chosen: 'A bee.', rejected: 'A bee. A red snail is on the left.', pair: { rule: 'score' } },
  ],
  checked: [{ ...record, id: 'c' }],
  'pairs.summary': [{ ...summary(0), summary: 'pair', rows_written: 6, dropped: { tie: 2 } }],
};

before(async () => {
  for (const [name, rows] of Object.entries(files))
    writeFileSync(join(folder, `${name}.ndjson`), rows.map((row) => `${JSON.stringify(row)}\n`).join(''));
  const inputs = Object.keys(files).map((name) => join(folder, `${name}.ndjson`));
  const { code, stderr } = await runCli(['report', '--by', 'step', ...inputs, '-o', page]);
  assert.equal(code, 0, stderr);
});

/** What `script` (a function body, may await) returns in the page. The page stands in a frame: a window is never narrower than 500 px. */
function inPage<T>(script: string, width = 1440, ...flags: string[]): T {
  const outer = join(folder, 'outer.html');
  const result = `(async () => { try { return await (async () => {${script}})() } catch (error) { return { error: String(error) } } })()`;
  const show = `.then((value) => { parent.document.body.textContent = 'result:' + encodeURIComponent(JSON.stringify(value)) + ':' })`;
  const inner = readFileSync(page, 'utf8').replace('</body>', () => `<script>${result}${show}</script></body>`);
  const attribute = inner.replaceAll('&', '&amp;').replaceAll('"', '&quot;');
  writeFileSync(
    outer,
    `<!doctype html><meta charset="utf-8"><body><iframe width="${width}" height="1000" style="border:0" srcdoc="${attribute}"></iframe>`,
  );
  const [, text] = /result:([^:]*):/.exec(domOf(outer, '--window-size=1600,1000', ...flags)) ?? [];
  assert.ok(text, 'the script came to its end');
  return JSON.parse(decodeURIComponent(text)) as T;
}

const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
for (const [scheme, width] of [
  ['1', 1440],
  ['0', 390],
] as const)
  test(`axe-core finds nothing, ${scheme === '1' ? 'light' : 'dark'}, ${width} px wide`, {
    skip: withoutChromium,
  }, () => {
    const script = `${axe}
      for (const details of document.querySelectorAll('details')) details.open = true;
      await new Promise((done) => setTimeout(done, 50));
      const { violations, passes } = await axe.run();
      return { numPasses: passes.length, isDark: matchMedia('(prefers-color-scheme: dark)').matches, width: innerWidth,
        violations: violations.map(({ id, nodes }) => id + ': ' + nodes.map(({ html }) => html.slice(0, 200)).join(' | ')) }`;
    const found = inPage<{ numPasses: number; isDark: boolean; width: number; violations: string[] }>(
      script,
      width,
      `--blink-settings=preferredColorScheme=${scheme}`,
    );
    assert.deepEqual(found.violations, []);
    assert.equal(found.width, width);
    assert.equal(found.isDark, scheme === '0');
    assert.ok(found.numPasses > 20, `${found.numPasses}`);
  });

test('sections in order: runs, curves, scores, pairs; names before ids', { skip: withoutChromium }, () => {
  const script = `return { sections: report.sections.map(([id]) => id), card: document.querySelector('#pairs .card').textContent }`;
  const { sections, card } = inPage<{ sections: string[]; card: string }>(script);
  assert.deepEqual(sections, [
    'runs',
    'training',
    'by',
    'scores',
    'samples',
    'pairs',
    'checked',
    'stages',
    'files',
    'judges',
  ]);
  assert.ok(card.indexOf('What is there?') < card.indexOf('rule score'));
});

test('the table of runs: settings to the digit, cost, sorted by a header; a run is taken out of the curves', {
  skip: withoutChromium,
}, () => {
  const script = `
    const rows = () => [...document.querySelectorAll('#runs tbody tr')].map((row) => row.textContent);
    const header = [...document.querySelectorAll('#runs .sort')].find((button) => button.textContent === 'lr');
    const names = () => [...document.querySelectorAll('#training .legend')].map((legend) => legend.textContent).join();
    const before = rows(); header.click(); header.click();
    const sorted = rows(); const all = names();
    document.querySelector('[aria-label="draw the curves of b"]').click();
    return { before, sorted, sort: header.parentElement.getAttribute('aria-sort'), all, one: names() }`;
  const {
    before: rows,
    sorted,
    sort,
    all,
    one,
  } = inPage<{ before: string[]; sorted: string[]; sort: string; all: string; one: string }>(script);
  assert.match(rows[0]!, /^a0\.0000530early-stopeval-worse/);
  assert.match(rows[1]!, /^b0\.0015.*79 \[78, 80\]1:06:40 h.*4\.66 GiB$/);
  assert.deepEqual([sorted.map((row) => row[0]), sort], [['b', 'a'], 'descending']);
  assert.match(all, /b training/);
  assert.doesNotMatch(one, /b training/);
});

test('curves: held-out beside training, warnings with what to do, values from the keyboard', {
  skip: withoutChromium,
}, () => {
  const script = `
    const chart = document.querySelector('#training .chart'); const plot = chart.querySelector('.plot');
    const press = (key) => plot.dispatchEvent(new KeyboardEvent('keydown', { key, bubbles: true, cancelable: true }));
    const legend = () => chart.querySelector('.legend').textContent;
    const atRest = legend(); press('Home'); press('ArrowRight');
    const spoken = chart.querySelector('[aria-live]').textContent;
    press('+'); const zoomed = chart.querySelectorAll('.tick').length && [...chart.querySelectorAll('.tick')].map((tick) => tick.textContent);
    press('Escape');
    return { atRest, spoken, zoomed, label: plot.getAttribute('aria-label'), marks: chart.querySelectorAll('.mark').length,
      warnings: document.querySelector('.warnings').textContent, rings: chart.querySelectorAll('.best').length }`;
  const found = inPage<{
    atRest: string;
    spoken: string;
    zoomed: string[];
    label: string;
    marks: number;
    warnings: string;
    rings: number;
  }>(script);
  assert.match(found.atRest, /a training 0\.4 at 30a held out 0\.59 at 30b training/);
  assert.match(found.spoken, /^1: a training 0\.69, b training 0\.69$/);
  assert.ok(!found.zoomed.includes('20'), found.zoomed.join());
  assert.match(
    found.label,
    /^Loss, by step\. a training: 0\.69 at 1 to 0\.4 at 30; .*warning 1: eval-worse at step 30/,
  );
  assert.deepEqual([found.marks, found.rings], [2, 2]);
  assert.match(found.warnings, /eval-worse at step 30 of a: stop earlier/);
});

test('answers over steps; doubtful claims where they stand, in other words, and nowhere', {
  skip: withoutChromium,
}, () => {
  const script = `
    const texts = (selector) => [...document.querySelectorAll(selector)].map((node) => node.textContent);
    return { samples: texts('#samples .answer'), changed: texts('#samples ins'), marked: texts('#checked .answer mark'), list: texts('#checked .doubts li'),
      rejected: texts('#pairs .answer.rejected mark') }`;
  const found = inPage<Record<string, string[]>>(script);
  assert.deepEqual(found.samples, ['steps 0 to 10a bee', 'step 20a red bee']);
  assert.deepEqual(found.changed, ['red']);
  assert.deepEqual(found.marked, ['snail', 'left.']);
  assert.deepEqual(found.rejected, found.marked);
  assert.deepEqual(found.list, [
    'doubtful: There is a snail on the left. (P(yes) 0.2)',
    'doubtful: It rains (P(yes) 0.1), not in these words in the answer',
  ]);
});
