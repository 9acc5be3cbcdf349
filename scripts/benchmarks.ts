// SPDX-License-Identifier: Apache-2.0
// Writes the table of METHODS.md under "Benchmarks", from the objects of src/benchmarks.
import { readFileSync } from 'node:fs';
import { benchmarks } from '../src/benchmarks/by-name.ts';
import { emit } from './manifest.ts';

const BEGIN = '<!-- scripts/benchmarks.ts writes from here -->';
const END = '<!-- to the end of the benchmarks -->';

const rows = [...benchmarks.values()].map(({ name, paper = '', scored }) => `| ${name} | ${paper} | ${scored} |`);
const table = ['| benchmark | paper | scored as |', '|---|---|---|', ...rows];
const text = readFileSync('METHODS.md', 'utf8');
const [before, rest] = text.split(BEGIN);
const after = rest?.split(END)[1];
if (before === undefined || after === undefined) throw new Error(`METHODS.md: expected ${BEGIN} and ${END}`);
emit('METHODS.md', `${before}${BEGIN}\n${table.join('\n')}\n${END}${after}`);
