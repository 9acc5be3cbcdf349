#!/usr/bin/env node
// SPDX-License-Identifier: Apache-2.0
// Score rows of a matrix with the parameters of their cells, for vpref report --by and vpref eval published:
//   matrix-rows.mjs DIR CELL NAME=VALUE... CELL NAME=VALUE... reads DIR/CELL.scores.ndjson, and DIR/CELL.summary.ndjson (train --summary) for its cost.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

const [dir, ...words] = process.argv.slice(2);
const cells = [];
for (const word of words) {
  const [name, value] = word.split(/=(.*)/s, 2);
  if (value === undefined) cells.push({ cell: name, params: {} });
  else cells.at(-1).params[name] = value;
}
const rowsOf = (name) =>
  readFileSync(join(dir, name), 'utf8')
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line));
for (const { cell, params } of cells) {
  const [{ seconds, gpu_hours }] = rowsOf(`${cell}.summary.ndjson`);
  const cost = { train_seconds: Math.round(10 * seconds) / 10, ...(gpu_hours !== undefined && { gpu_hours }) };
  for (const row of rowsOf(`${cell}.scores.ndjson`))
    process.stdout.write(`${JSON.stringify({ ...row, cell, ...cost, params })}\n`);
}
