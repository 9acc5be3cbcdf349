// SPDX-License-Identifier: Apache-2.0
// Where preferences come from (examples/make/choices.mk), over several seeds: choices.ts DIR..., the folders of runs with SEED=0 1 2 ... in this order.
// Writes bench/results/choices.ndjson, one row per seed, run and metric with the 95 % interval by image, and a row over the seeds; prints a table.
import { join } from 'node:path';
import { figuresOf, readRows, writeTable } from './support/seeds.ts';

const folders = process.argv.slice(2);
if (folders.length < 2) throw new Error('expected the folders of at least two seeds');
const ways = ['before', 'fixed', 'gap', 'claims', 'truth'];
const pairs = new Set(
  folders.flatMap((folder) => ways.slice(1).map((way) => readRows(join(folder, `${way}.ndjson`)).length)),
);
if (pairs.size !== 1) throw new Error(`expected as many pairs in every run, got ${[...pairs].join(', ')}`);
writeTable('choices', new Map(ways.map((way) => [way, folders.map((folder) => figuresOf(folder, way))])), {
  pairs: [...pairs][0]!,
});
