#!/usr/bin/env node
// SPDX-License-Identifier: Apache-2.0
// Before and after, side by side: demo-table.mjs DIR RUN... reads DIR/RUN.{short,long,pope}.scores.ndjson.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

const [dir, ...runs] = process.argv.slice(2);
const rows = (run, set) =>
  readFileSync(join(dir, `${run}.${set}.scores.ndjson`), 'utf8')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));
const split = (run, set, name) => rows(run, set).find((row) => row.split === name);

const percent = (value) => (100 * value).toFixed(1);
const withInterval = ({ score, ci95 }) => `${score.toFixed(1)} [${ci95[0].toFixed(1)}, ${ci95[1].toFixed(1)}]`;
const lines = [
  ['absent objects, short captions, %', (run) => withInterval(split(run, 'short', 'all'))],
  ['  captions with any, %', (run) => percent(split(run, 'short', 'all').chair_s)],
  ['  objects found, %', (run) => percent(split(run, 'short', 'all').recall)],
  ['  caption F1, %', (run) => percent(split(run, 'short', 'all').f1)],
  ['absent objects, long captions, %', (run) => withInterval(split(run, 'long', 'all'))],
  ['  captions with any, %', (run) => percent(split(run, 'long', 'all').chair_s)],
  ['  objects found, %', (run) => percent(split(run, 'long', 'all').recall)],
  ['  caption F1, %', (run) => percent(split(run, 'long', 'all').f1)],
  ['POPE F1, adversarial', (run) => withInterval(split(run, 'pope', 'adversarial'))],
  ['POPE F1, mean of three', (run) => withInterval(split(run, 'pope', 'all'))],
];
const table = [['', ...runs], ...lines.map(([name, value]) => [name, ...runs.map(value)])];
const widths = table[0].map((_, column) => Math.max(...table.map((row) => row[column].length)));
for (const row of table)
  console.log(`  ${row.map((cell, column) => cell.padEnd(widths[column])).join('  ')}`.trimEnd());
