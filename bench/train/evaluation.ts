// SPDX-License-Identifier: Apache-2.0
// The cost of held-out records: the same steps with and without --eval, alternating.
//   node --import tsx bench/train/evaluation.ts [--repeats 3] [--steps 12] [--every 3] [--held-out 64]
// An evaluated row is one forward, a trained one a forward and a backward: `row_ratio` is the ratio of their times. `rest_seconds` is the additional
// time of the run with --eval beyond its eval/seconds. It is about 0, because there is no second start and no second model.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { demoModel, demoPairs, readRows, toNdjson } from '../../test/support/demo-pairs.ts';
import { runCli } from '../../test/support/run-cli.ts';
import { report } from '../support/run.ts';

const { values: flags } = parseArgs({
  options: {
    repeats: { type: 'string', default: '3' },
    steps: { type: 'string', default: '12' },
    every: { type: 'string', default: '3' },
    'held-out': { type: 'string', default: '64' },
  },
});
const [repeats, numHeldOut] = [Number(flags.repeats), Number(flags['held-out'])];
const folder = mkdtempSync(join(tmpdir(), 'vpref-bench-evaluation-'));
process.on('exit', () => rmSync(folder, { recursive: true, force: true }));
const path = (name: string) => join(folder, name);

const all = demoPairs(numHeldOut + 96);
if (all.length < numHeldOut + 32) throw new Error(`--held-out: expected fewer than ${all.length - 32}`);
for (const [name, rows] of [
  ['held-out', all.slice(0, numHeldOut)],
  ['pairs', all.slice(numHeldOut)],
] as const) {
  writeFileSync(path(`${name}.bare.ndjson`), toNdjson(rows));
  const args = [
    'precompute-ref',
    '--model',
    demoModel,
    '-q',
    path(`${name}.bare.ndjson`),
    '-o',
    path(`${name}.ndjson`),
  ];
  const { code, stderr } = await runCli(args);
  if (code !== 0) throw new Error(stderr);
}

interface Figures {
  seconds: number;
  stepSeconds: number;
  evalSeconds: number;
  rowsTrained: number;
  rowsEvaluated: number;
}

async function run(name: string, ...more: string[]): Promise<Figures> {
  const summary = path(`${name}.summary`);
  const settings = ['--lora-r', '16', '--batch-size', '16', '--max-steps', flags.steps, '--summary', summary, '-q'];
  const args = ['train', path('pairs.ndjson'), '--model', demoModel, '-o', path(name), ...settings, ...more];
  const { code, stdout, stderr } = await runCli(args);
  if (code !== 0) throw new Error(stderr);
  const rows = readRows(stdout) as Record<string, number>[];
  const end = readRows(readFileSync(summary, 'utf8')).at(-1)! as unknown as Record<string, number>;
  const sum = (values: number[]) => values.reduce((total, value) => total + value, 0);
  const evals = rows.filter((row) => 'eval/loss' in row);
  const perStep = end.records_learnt! / end.steps!;
  return {
    seconds: end.seconds!,
    stepSeconds: sum(rows.filter((row) => 'loss' in row).map((row) => perStep / row.pairs_per_second!)),
    evalSeconds: sum(evals.map((row) => row['eval/seconds']!)),
    rowsTrained: end.records_learnt!,
    rowsEvaluated: evals.length * numHeldOut,
  };
}

const fastest = (runs: Figures[]) => runs.reduce((best, one) => (one.seconds < best.seconds ? one : best));
const [without, withEval]: [Figures[], Figures[]] = [[], []];
for (let turn = 0; turn < repeats; turn++) {
  without.push(await run(`without-${turn}`));
  withEval.push(await run(`with-${turn}`, '--eval', path('held-out.ndjson'), '--eval-every', flags.every));
}
const [plain, watched] = [fastest(without), fastest(withEval)];
const rounded = (value: number) => Number(value.toPrecision(4));
report('train-evaluation', {
  steps: Number(flags.steps),
  rows_trained: watched.rowsTrained,
  rows_evaluated: watched.rowsEvaluated,
  seconds_without: rounded(plain.seconds),
  seconds_with: rounded(watched.seconds),
  trained_rows_per_second: rounded(watched.rowsTrained / watched.stepSeconds),
  evaluated_rows_per_second: rounded(watched.rowsEvaluated / watched.evalSeconds),
  row_ratio: rounded(watched.evalSeconds / watched.rowsEvaluated / (watched.stepSeconds / watched.rowsTrained)),
  rest_seconds: rounded(watched.seconds - plain.seconds - watched.evalSeconds),
});
