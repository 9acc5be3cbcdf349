// SPDX-License-Identifier: Apache-2.0
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ReportCollector } from '../../../src/stages/report/collect.ts';

const collect = (rows: Record<string, unknown>[], maxPairs = 10) => {
  const collector = new ReportCollector({ maxPairs });
  const known = rows.map((row) => collector.add('run', row));
  return { known, ...collector.finish('title') };
};

test('metric rows become columns, with null where a step lacks a figure', () => {
  const { data } = collect([
    { step: 1, epoch: 0.1, loss: 0.7, 'rewards/margins': 0.1 },
    { step: 2, epoch: 0.2, loss: 0.6, note: 'text' },
  ]);
  assert.deepEqual(data.curves, [
    {
      name: 'run',
      keys: ['loss', 'rewards/margins'],
      columns: [
        [1, 2],
        [0.7, 0.6],
        [0.1, null],
      ],
      numSteps: 2,
    },
  ]);
});

test('a step and the evaluation of its state are one point; warnings are marks, the end names the best', () => {
  const { known, data } = collect([
    { step: 0, epoch: 0, 'eval/loss': 0.69 },
    { step: 1, epoch: 0.5, loss: 0.7 },
    { step: 1, epoch: 0.5, 'eval/loss': 0.68 },
    { step: 1, warning: 'eval-worse', message: 'text' },
    { step: 1, warning: 'eval-worse', message: 'of the resumed run' },
    { step: 1, stop_reason: 'last-step', best_step: 1, best_metric: 'eval/loss' },
  ]);
  assert.ok(known.every(Boolean));
  assert.deepEqual(data.curves, [
    {
      name: 'run',
      keys: ['eval/loss', 'loss'],
      columns: [
        [0, 1],
        [0.69, 0.68],
        [null, 0.7],
      ],
      numSteps: 2,
      marks: [{ step: 1, name: 'eval-worse', message: 'text' }],
      best: { step: 1, key: 'eval/loss' },
    },
  ]);
});

test('a long run is drawn by fewer steps, with its spikes, evaluations and ends', () => {
  const rows = Array.from({ length: 50_000 }, (_, step) => ({ step, loss: step === 31_234 ? 9 : 1 / (step + 1) }));
  const { data } = collect([...rows, { step: 31_300, 'eval/loss': 0.5 }]);
  const [steps, loss] = data.curves[0]!.columns;
  assert.ok(steps!.length <= 2010 && steps!.length > 1000, `${steps!.length}`);
  assert.equal(data.curves[0]!.numSteps, 50_000);
  assert.deepEqual([steps![0], steps!.at(-1)], [0, 49_999]);
  for (const step of [31_234, 31_300]) assert.ok(steps!.includes(step));
  assert.equal(Math.max(...(loss as number[])), 9);
});

test('rows of two runs in one file give a note; repeated rows of a resumed run give none', () => {
  const first = { step: 1, loss: 0.7, tokens_per_second: 10 };
  assert.deepEqual(collect([first, { ...first, tokens_per_second: 11 }]).notes, []);
  assert.match(collect([first, { step: 1, loss: 0.6 }]).notes[0]!, /^run: 1 step appears twice with different losses/);
});

test('pairs keep their texts, pictures are listed once, and the rest is counted', () => {
  const pair = (id: string) => ({
    id,
    images: ['a.png'],
    prompt: [{ role: 'user', content: [{ type: 'image' }, { type: 'text', text: 'What?' }] }],
    chosen: 'yes',
    rejected: ['no', 'maybe'],
    pair: { rule: 'seva' },
    views: [{ name: 'd', ops: [{ op: 'diffusion', step: 500 }], seed: 1 }],
  });
  const { data } = collect([pair('1'), pair('2'), pair('3')], 2);
  assert.equal(data.pairs.length, 2);
  assert.equal(data.leftOut.pairs, 1);
  assert.deepEqual(
    data.images.map(({ source }) => source),
    ['a.png'],
  );
  assert.equal(data.pairs[0]!.prompt, 'user: <image>What?');
  assert.equal(data.pairs[0]!.view, 'diffusion (step=500)');
  assert.deepEqual(data.pairs[1]!.rejected, ['no', 'maybe']);
});

test('doubtful claims go with the answer that they are of, below the doubt that the pair was made with', () => {
  const annotations = [
    {
      ...{ guide: 'claims', judge: 'local:m', run: 1, outcome: 'ok' as const },
      claims: [[{ text: 'a cat', p_yes: 0.3, mass: 1 }], [{ text: 'a dog', p_yes: 0.9, mass: 1 }], []],
    },
  ];
  const record = {
    ...{ id: 'a', prompt: 'q', responses: [{ text: 'X' }, { text: 'Y' }, { text: 'Z' }], annotations },
    ...{ chosen: 'Y', rejected: ['Z', 'X'] },
  };
  const claimsOf = (pair: { rule: string; doubt?: number }) => {
    const collector = new ReportCollector({ maxPairs: 9 });
    collector.add('pairs', { ...record, pair });
    return collector.finish('t').data.pairs[0]!.doubtfulClaims;
  };
  assert.deepEqual(claimsOf({ rule: 'score' }), [[], [], [{ text: 'a cat', pYes: 0.3 }]]);
  assert.deepEqual(claimsOf({ rule: 'score', doubt: 0.95 }), [
    [{ text: 'a dog', pYes: 0.9 }],
    [],
    [{ text: 'a cat', pYes: 0.3 }],
  ]);
  assert.equal(claimsOf({ rule: 'score', doubt: 0.1 }), undefined);
});

test('judges: outcomes, usage and agreement over runs; failed rows by reason', () => {
  const entry = (run: number, score: number) => ({
    guide: 'helpsteer',
    judge: 'exec:j',
    run,
    outcome: 'ok',
    scores: [{ helpfulness: score }, null],
    usage: { input_tokens: 10 },
  });
  const { data } = collect([
    { id: '1', prompt: 'q', responses: [], annotations: [entry(0, 4), entry(1, 2)] },
    {
      id: '2',
      prompt: 'q',
      annotations: [entry(0, 3), entry(1, 3), { ...entry(2, 0), outcome: 'refused', scores: undefined }],
    },
    { id: '3', prompt: 'q', error: { stage: 'sample', code: 'image', message: 'm' } },
  ]);
  const [judge] = data.judges;
  assert.deepEqual(judge!.outcomes, { ok: 4, refused: 1 });
  assert.deepEqual(judge!.usage, { input_tokens: 50 });
  assert.deepEqual(judge!.agreement, { helpfulness: { equal: 0.5, meanDifference: 1, n: 2 } });
  assert.deepEqual(data.files[0]!.failed, { 'sample: image': 1 });
  assert.equal(data.files[0]!.annotated, 2);
});

test('summaries of stages: kept, dropped and why, what a judge cost', () => {
  const { data } = collect([
    {
      summary: 'pair',
      rows_read: 10,
      rows_written: 7,
      dropped: { 'equal answers': 3 },
      failed_left_out: 0,
      failed_kept: 0,
      failed_before: 0,
      rule: 'seva',
      answers_left_out: { tie: 2 },
      flipped: 1,
      settings: {},
    },
    {
      summary: 'annotate',
      rows_read: 4,
      rows_written: 4,
      dropped: {},
      failed_kept: 1,
      requests: 5,
      cached: 2,
      cost_usd: 0.5,
    },
  ]);
  const [pair, annotate] = data.stages;
  assert.deepEqual(pair, {
    run: 'run',
    stage: 'pair',
    read: 10,
    written: 7,
    dropped: { 'equal answers': 3 },
    leftOut: { tie: 2 },
    failed: 0,
    notes: ['rule seva', '1 preference swapped'],
  });
  assert.deepEqual([annotate!.failed, annotate!.requests, annotate!.cached, annotate!.cost], [1, 5, 2, 0.5]);
});

test('agreement between two judges, each by its first scores', () => {
  const entry = (judge: string, run: number, score: number) => ({
    guide: 'helpsteer',
    judge,
    run,
    outcome: 'ok',
    scores: [{ helpfulness: score }],
  });
  const { data } = collect([
    { id: '1', prompt: 'q', annotations: [entry('b', 1, 4), entry('a', 1, 2), entry('a', 2, 4)] },
    { id: '2', prompt: 'q', annotations: [entry('a', 1, 3), entry('b', 1, 3)] },
    { id: '3', prompt: 'q', annotations: [entry('a', 1, 3)] },
  ]);
  assert.deepEqual(data.judgePairs, [
    {
      run: 'run',
      guide: 'helpsteer',
      judges: ['a', 'b'],
      agreement: { helpfulness: { equal: 0.5, meanDifference: 1, n: 2 } },
    },
  ]);
});

test('rows of no known kind are refused', () => {
  assert.deepEqual(collect([{ hello: 1 }, { benchmark: 'pope', split: 'all', score: 1 }]).known, [false, true]);
});
