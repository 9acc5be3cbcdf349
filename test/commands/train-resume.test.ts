// SPDX-License-Identifier: Apache-2.0
// Covers src/stages/train/checkpoint.ts src/stages/train/samples.ts native/train/session.cc
// All that a run keeps, killed at several places and resumed: evaluations and the best of them, the mean of bco, dropout, answers, events.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import * as wire from '@bufbuild/protobuf/wire';
import { readEvents } from '../../src/cli/event-file.ts';
import { demoModel, demoPairs, demoPrompts, readRows, toNdjson } from '../support/demo-pairs.ts';
import { withoutEngine as skip } from '../support/native.ts';
import { runCli, spawnCli } from '../support/run-cli.ts';

const folder = mkdtempSync(join(tmpdir(), 'vpref-train-resume-'));
after(() => rmSync(folder, { recursive: true, force: true }));
const path = (...names: string[]) => join(folder, ...names);
const all = demoPairs(14);
const files = {
  'pairs.ndjson': all.slice(0, 8),
  'held-out.ndjson': all.slice(8),
  'prompts.ndjson': demoPrompts(2).map((record) => ({ ...record, sampling_params: { max_new_tokens: 6 } })),
};
for (const [name, rows] of Object.entries(files)) writeFileSync(path(name), toNdjson(rows));

const flags = ['--lora-r', '4', '--lr', '5e-3', '--batch-size', '4', '--epochs', '4', '--save-every', '2', '-q'].concat(
  ['--loss', 'bco', '--lora-dropout', '0.2', '--eval', path('held-out.ndjson'), '--eval-every', '3'],
  ['--keep-best', 'eval/rewards/margins', '--sample-prompts', path('prompts.ndjson'), '--sample-every', '3'],
);
const args = (name: string, ...more: string[]) =>
  ['train', path('pairs.ndjson'), '--model', demoModel, ...flags, '-o', path(name)].concat(
    ['--log', `tensorboard:${path(`${name}-tb`)}`, '--summary', path(`${name}-summary.ndjson`)],
    more,
  );
const steady = (row: Record<string, unknown>) =>
  Object.fromEntries(Object.entries(row).filter(([name]) => !/second|bytes|hours/.test(name)));
const events = (name: string) =>
  readEvents(path(`${name}-tb`, 'events.out.tfevents.vpref'), wire).map(({ step, values }) => [
    step,
    values.filter(([tag]) => !/second|bytes/.test(tag)),
  ]);

/** What is in the directory at the end, but for the times in a checkpoint. */
function contents(name: string): Map<string, string> {
  const found = readdirSync(path(name), { recursive: true, withFileTypes: true });
  const kept = found.filter((entry) => entry.isFile() && entry.name !== 'trainer_state.json' && entry.name !== '.lock');
  return new Map(
    kept
      .map(({ parentPath, name: file }): [string, string] => [
        join(parentPath, file).slice(path(name).length),
        readFileSync(join(parentPath, file)).toString('base64'),
      ])
      .sort(),
  );
}

test('killed anywhere and resumed: the same files, rows, events and answers, none twice', { skip }, async () => {
  const straight = await runCli(args('straight'));
  assert.equal(straight.code, 0, straight.stderr);
  const want = readRows(straight.stdout).map(steady);
  assert.equal(want.filter((row) => 'delta' in row).length, 8);
  assert.equal(events('straight').length, want.filter((row) => !('stop_reason' in row)).length + 1);
  const files = contents('straight');
  for (const name of ['/samples.ndjson', '/adapter_model.safetensors', '/checkpoint-000008/optimizer.safetensors'])
    assert.ok(files.has(name), name);
  for (const numRows of [2, 5, 8]) {
    const name = `killed-${numRows}`;
    const child = spawnCli(args(name));
    child.stdin!.end();
    let out = '';
    child.stdout!.on('data', (chunk) => {
      out += chunk;
      if (out.split('\n').length > numRows) child.kill('SIGKILL');
    });
    await once(child, 'close');
    const resumed = await runCli(args(name, '--resume'));
    assert.equal(resumed.code, 0, resumed.stderr);
    const rows = readRows(resumed.stdout).map(steady);
    assert.deepEqual(rows, want.slice(-rows.length));
    assert.deepEqual(events(name), events('straight'));
    const got = contents(name);
    assert.deepEqual([...got.keys()], [...files.keys()]);
    for (const [file, bytes] of files) assert.equal(got.get(file), bytes, `${name}${file}`);
  }
});
