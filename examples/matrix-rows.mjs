#!/usr/bin/env node
// SPDX-License-Identifier: Apache-2.0
// Score rows of one cell of a matrix with its parameters, for vpref report --by: matrix-rows.mjs CELL NAME=VALUE... < CELL.scores.ndjson
// CELL.summary.ndjson (train --summary) says what the cell cost.
import { readFileSync } from 'node:fs';
import { basename } from 'node:path';

const [cell, ...settings] = process.argv.slice(2);
const params = Object.fromEntries(settings.map((setting) => setting.split(/=(.*)/s, 2)));
const lines = (text) => text.split('\n').filter((line) => line !== '');
const [{ seconds, gpu_hours }] = lines(readFileSync(`${cell}.summary.ndjson`, 'utf8')).map((line) => JSON.parse(line));
const cost = { train_seconds: Math.round(10 * seconds) / 10, ...(gpu_hours !== undefined && { gpu_hours }) };
for (const line of lines(readFileSync(0, 'utf8')))
  process.stdout.write(`${JSON.stringify({ ...JSON.parse(line), cell: basename(cell), ...cost, params })}\n`);
