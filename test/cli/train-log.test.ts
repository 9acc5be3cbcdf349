// SPDX-License-Identifier: Apache-2.0
// --log of train: the rows as events, each once, also when the run was killed and resumed.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import * as wire from '@bufbuild/protobuf/wire';
import { readEvents } from '../../src/cli/event-file.ts';
import { demoModel, demoPairs, readRows, toNdjson } from '../support/demo-pairs.ts';
import { withoutEngine as skip } from '../support/native.ts';
import { runCli, spawnCli } from '../support/run-cli.ts';

const folder = mkdtempSync(join(tmpdir(), 'vpref-train-log-'));
after(() => rmSync(folder, { recursive: true, force: true }));
const path = (name: string) => join(folder, name);
writeFileSync(path('pairs.ndjson'), toNdjson(demoPairs(8)));
writeFileSync(path('held-out.ndjson'), toNdjson(demoPairs(12).slice(8)));
const args = (name: string, ...flags: string[]) =>
  ['train', path('pairs.ndjson'), '--model', demoModel, '--lora-r', '4', '--batch-size', '4', '--epochs', '6'].concat(
    ['--save-every', '3', '--eval', path('held-out.ndjson'), '--eval-every', '2', '-q'],
    ['-o', path(name), '--log', `tensorboard:${path(`${name}-tb`)}`, ...flags],
  );
const events = (name: string) => readEvents(join(path(`${name}-tb`), 'events.out.tfevents.vpref'), wire).slice(1);
/** What does not depend on the clock. */
const steady = (name: string) =>
  events(name).map(({ step, values }) => [step, values.filter(([tag]) => !/second|bytes/.test(tag))]);

test('every number of the metric rows is an event', { skip }, async () => {
  const { code, stdout, stderr } = await runCli(args('straight'));
  assert.equal(code, 0, stderr);
  const rows = readRows(stdout).filter((row) => !('stop_reason' in row));
  const got = events('straight');
  assert.equal(got.length, rows.length);
  for (const [index, { step, ...row }] of rows.entries()) {
    assert.equal(got[index]!.step, step);
    assert.deepEqual(
      got[index]!.values,
      Object.entries(row)
        .filter(([tag]) => !('eval/loss' in row) || tag !== 'epoch')
        .map(([tag, value]) => [tag, Math.fround(value as number)]),
    );
  }
});

test('killed and resumed: the same events, none twice', { skip }, async () => {
  for (const numRows of [3, 9]) {
    const name = `killed-${numRows}`;
    const child = spawnCli(args(name));
    child.stdin!.end();
    let out = '';
    child.stdout!.on('data', (chunk) => {
      out += chunk;
      if (out.split('\n').length > numRows) child.kill('SIGKILL');
    });
    await once(child, 'close');
    const { code, stderr } = await runCli(args(name, '--resume'));
    assert.equal(code, 0, stderr);
    assert.deepEqual(steady(name), steady('straight'));
  }
});

test('other logs, and a directory with another run, are refused', { skip }, async () => {
  const bad = await runCli(args('bad').with(-1, 'wandb:x'));
  assert.equal(bad.code, 2);
  assert.match(bad.stderr, /--log: expected tensorboard:DIR, got wandb:x/);
  const taken = await runCli(args('other').with(-1, `tensorboard:${path('straight-tb')}`));
  assert.equal(taken.code, 2);
  assert.match(taken.stderr, /holds the events of another run/);
});
