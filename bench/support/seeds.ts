// SPDX-License-Identifier: Apache-2.0
// Runs of several seeds on the demo's test pictures: figures with intervals by image, and a table of means over the seeds.
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { buildVocabulary, objectFinder } from '../../src/benchmarks/scoring/objects.ts';
import { clusteredInterval, type Interval, studentQuantile975 } from '../../src/benchmarks/scoring/statistics.ts';
import { root } from './run.ts';

type Json = Record<string, unknown>;

/** The rows of a file. */
export const readRows = (path: string): Json[] =>
  readFileSync(path, 'utf8')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));

const labels = readRows(join(root, 'fixtures/demo/data/test/captions.jsonl')) as { objects: string[] }[];
const findObjects = objectFinder(buildVocabulary(new Set(labels.flatMap(({ objects }) => objects)), new Map()));

export interface Figure {
  value: number;
  ci95: Interval | null;
}

/** Sums of a caption: 1, named objects, absent ones among them, present objects, 1 if any is absent. */
const CAPTION_FIGURES: [name: string, key: string, (sums: readonly number[]) => number][] = [
  ['absent objects', 'chair_i', ([, named, absent]) => absent! / named!],
  ['captions with an absent object', 'chair_s', ([n, , , , any]) => any! / n!],
  ['objects found', 'recall', ([, named, absent, there]) => (named! - absent!) / there!],
  ['caption F1', 'f1', ([, named, absent, there]) => (2 * (named! - absent!)) / (named! + there!)],
];

function captionFigures(folder: string, run: string, set: string): [string, Figure][] {
  const contributions = readRows(join(folder, `${run}.${set}.ndjson`)).map((record, index) => {
    const named = findObjects((record.responses as { text: string }[])[0]!.text);
    const there = new Set(labels[index]!.objects);
    const absent = named.filter((object) => !there.has(object)).length;
    return { cluster: String(index), sums: [1, named.length, absent, there.size, absent > 0 ? 1 : 0] };
  });
  const total = contributions[0]!.sums.map((_, k) => contributions.reduce((sum, { sums }) => sum + sums[k]!, 0));
  const scored = readRows(join(folder, `${run}.${set}.scores.ndjson`)).find(({ split }) => split === 'all')!;
  return CAPTION_FIGURES.map(([name, key, figure]) => {
    const value = figure(total);
    if (Math.abs(value - (scored[key] as number)) > 1e-9)
      throw new Error(`${folder}: ${run}.${set}: ${key}: expected ${scored[key]} as eval says, got ${value}`);
    const { ci95 } = clusteredInterval(contributions, (sums) => 100 * figure(sums), [0, 100]);
    return [`${name}, ${set} captions, %`, { value: 100 * value, ci95 }];
  });
}

function popeFigures(folder: string, run: string): [string, Figure][] {
  const scores = readRows(join(folder, `${run}.pope.scores.ndjson`));
  return ['random', 'popular', 'adversarial', 'all'].map((split) => {
    const { score, ci95 } = scores.find((row) => row.split === split) as { score: number; ci95: Interval };
    return [`POPE F1, ${split === 'all' ? 'mean of three' : split}`, { value: score, ci95 }];
  });
}

/** All figures of a run: absent objects, objects found and F1 of its captions, POPE. `sets`: of captions. */
export const figuresOf = (folder: string, run: string, sets = ['short', 'long']): Map<string, Figure> =>
  new Map([...sets.flatMap((set) => captionFigures(folder, run, set)), ...popeFigures(folder, run)]);

const mean = (values: number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;
const deviation = (values: number[]) =>
  Math.sqrt(values.reduce((sum, x) => sum + (x - mean(values)) ** 2, 0) / (values.length - 1));
const halfWidth = (values: number[]) =>
  (studentQuantile975(values.length - 1) * deviation(values)) / Math.sqrt(values.length);
const rounded = (value: number) => Number(value.toFixed(3));

/** Writes bench/results/NAME.ndjson and prints the table. `runs`: the figures of each run, one map per seed; one of them is `before`. */
export function writeTable(name: string, runs: ReadonlyMap<string, Map<string, Figure>[]>, about: Json = {}): void {
  const before = runs.get('before')!;
  const rows: Json[] = [];
  const table: string[][] = [['', ...runs.keys()]];
  for (const metric of before[0]!.keys()) {
    const line = [metric];
    for (const [run, seeds] of runs) {
      for (const [seed, figures] of seeds.entries()) {
        const { value, ci95 } = figures.get(metric)!;
        rows.push({ run, metric, seed, value: rounded(value), ci95: ci95?.map(rounded) ?? null });
      }
      const values = seeds.map((figures) => figures.get(metric)!.value);
      const summary = { run, metric, seed: 'all', value: rounded(mean(values)), deviation: rounded(deviation(values)) };
      if (seeds === before) rows.push(summary);
      else {
        const changes = seeds.map((figures, seed) => figures.get(metric)!.value - before[seed]!.get(metric)!.value);
        const half = halfWidth(changes);
        const interval = [mean(changes) - half, mean(changes) + half].map(rounded);
        rows.push({ ...summary, change: rounded(mean(changes)), change_ci95_over_seeds: interval });
      }
      line.push(`${mean(values).toFixed(1)}${seeds === before ? '' : ` ± ${deviation(values).toFixed(1)}`}`);
    }
    table.push(line);
  }
  const commit = execFileSync('git', ['rev-parse', '--short', 'HEAD'], { cwd: root, encoding: 'utf8' }).trim();
  writeFileSync(
    join(root, `bench/results/${name}.ndjson`),
    rows.map((row) => `${JSON.stringify({ bench: name, ...about, ...row, commit })}\n`).join(''),
  );
  for (const [index, line] of table.entries()) {
    console.log(`| ${line.join(' | ')} |`);
    if (index === 0) console.log(`|${'---|'.repeat(line.length)}`);
  }
}
