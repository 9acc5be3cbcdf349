// SPDX-License-Identifier: Apache-2.0
// The figures of examples/demo.sh over several seeds: demo-seeds.ts OUT..., the folders of runs with SEED=0 1 2 ... in this order, for one or more JUDGED.
// Writes bench/results/demo-seeds.ndjson, one row per seed, run and metric with the 95 % interval by image, and a row over the seeds; prints a table.
import { join } from 'node:path';
import { figuresOf, readRows, writeTable } from './support/seeds.ts';

/** Folders with the same number of judged questions, one per seed. */
const groups = new Map<number, string[]>();
for (const folder of process.argv.slice(2)) {
  const questions = readRows(join(folder, 'judged.prompts.ndjson')).length;
  groups.set(questions, [...(groups.get(questions) ?? []), folder]);
}
const [first] = groups.values();
if (first === undefined || [...groups.values()].some((folders) => folders.length < 2))
  throw new Error('expected the OUT folders of at least two seeds');

/** Figures of each run, one map per seed. */
const runs = new Map([
  ['before', first.map((folder) => figuresOf(folder, 'before'))],
  ['seva', first.map((folder) => figuresOf(folder, 'seva'))],
  ...[...groups].map(
    ([questions, folders]) =>
      [`judged, ${questions} questions`, folders.map((folder) => figuresOf(folder, 'judged'))] as const,
  ),
]);
writeTable('demo-seeds', runs);
