// SPDX-License-Identifier: Apache-2.0
// Covers src/cli/run-summary.ts
// --summary: one row of what came of the run, of the whole output even when it was resumed.
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { before, test } from 'node:test';
import { ensureBuilt, runShell, temporaryFolder } from '../support/run-cli.ts';

before(ensureBuilt);

const answers = (id: string, clean: string, noisy: string) => ({
  id,
  prompt: 'q',
  responses: [
    { text: clean, view: 'original' },
    { text: noisy, view: 'noisy' },
  ],
  views: [{ name: 'noisy', ops: [{ op: 'diffusion', step: 500 }], seed: 1 }],
});
const records = [answers('1', 'a', 'b'), answers('2', 'a', 'a'), answers('3', 'c', 'd'), answers('4', 'e', 'e')];
const ndjson = (rows: object[]) => rows.map((row) => `${JSON.stringify(row)}\n`).join('');

function summaryIn(cwd: string): Record<string, unknown> {
  const text = readFileSync(join(cwd, 's.ndjson'), 'utf8');
  assert.equal(text.split('\n').length, 2, 'one row');
  return JSON.parse(text);
}

test('rows in and out, dropped by reason, figures of the stage, settings', async () => {
  const cwd = temporaryFolder('summary');
  writeFileSync(join(cwd, 'in.ndjson'), ndjson(records));
  const { code, stderr } = await runShell('vpref pair -q --rule seva --summary s.ndjson in.ndjson -o out.ndjson', {
    cwd,
  });
  assert.equal(code, 0, stderr);
  const { settings, ...rest } = summaryIn(cwd);
  assert.deepEqual(rest, {
    summary: 'pair',
    rows_read: 4,
    rows_written: 2,
    dropped: { 'equal answers': 2 },
    failed_left_out: 0,
    failed_kept: 0,
    failed_before: 0,
    rule: 'seva',
    answers_left_out: {},
    flipped: 0,
  });
  assert.equal((settings as { rule: string }).rule, 'seva');
  assert.ok(!('summary' in (settings as object)), 'where it is written is no setting');
});

test('a resumed run includes the counts of its earlier start', async () => {
  const cwd = temporaryFolder('summary-resumed');
  writeFileSync(join(cwd, 'in.ndjson'), ndjson(records));
  // A record that is none ends the first start after three rows.
  writeFileSync(join(cwd, 'cut.ndjson'), `${ndjson(records.slice(0, 3))}null\n`);
  const command = (input: string) => `vpref pair -q --rule seva --summary s.ndjson ${input} -o out.ndjson`;
  assert.equal((await runShell(command('cut.ndjson'), { cwd })).code, 2);
  const { code, stderr } = await runShell(`${command('in.ndjson')} --resume`, { cwd });
  assert.equal(code, 0, stderr);
  const { rows_read, rows_written, dropped, done_before } = summaryIn(cwd);
  assert.deepEqual([rows_read, rows_written, dropped, done_before], [4, 2, { 'equal answers': 2 }, 3]);
});

test('an unwritable summary gives a message, and the output stays', async () => {
  const cwd = temporaryFolder('summary-nowhere');
  writeFileSync(join(cwd, 'in.ndjson'), ndjson(records));
  const { code, stderr } = await runShell('vpref pair -q --rule seva --summary no/s.ndjson in.ndjson -o out.ndjson', {
    cwd,
  });
  assert.equal(code, 1);
  assert.match(stderr, /--summary: ENOENT/);
  assert.equal(readFileSync(join(cwd, 'out.ndjson'), 'utf8').trim().split('\n').length, 2);
});
