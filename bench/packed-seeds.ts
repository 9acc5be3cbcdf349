// SPDX-License-Identifier: Apache-2.0
// What examples/make/packed.mk comes to over several seeds: packed-seeds.ts DIR..., its folders with SEED=0 1 2 ... in this order, FORMS="none int8 nf4".
// Writes bench/results/packed-seeds.ndjson, as demo-seeds.ts does; changes are from the full base before training. Prints a table.
import { figuresOf, writeTable } from './support/seeds.ts';

const folders = process.argv.slice(2);
if (folders.length < 2) throw new Error('expected the folders of at least two seeds');
const FORMS: [form: string, name: string][] = [
  ['none', 'full base'],
  ['int8', 'int8'],
  ['nf4', 'nf4'],
];
const run = (form: string, when: string) => folders.map((folder) => figuresOf(folder, `${form}.${when}`, ['short']));
const runs = FORMS.flatMap(([form, name]): [string, ReturnType<typeof run>][] => [
  [form === 'none' ? 'before' : `before, ${name}`, run(form, 'before')],
  [`SeVa, ${name}`, run(form, 'after')],
]);
writeTable('packed-seeds', new Map(runs));
