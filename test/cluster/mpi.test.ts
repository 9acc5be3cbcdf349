// SPDX-License-Identifier: Apache-2.0
// Training by two processes under Open MPI: what one process would have done, whoever is stopped and whoever fails.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import {
  adapterValues,
  assertSameAdapter,
  assertSameTraining,
  demoModel,
  demoPairs,
  demoPrompts,
  readRows,
  toNdjson,
} from '../support/demo-pairs.ts';
import { withoutEngine } from '../support/native.ts';
import { bin, collect, ensureBuilt, runCli, temporaryFolder } from '../support/run-cli.ts';
import { lacksMpi, mpiEnv } from '../support/slurm.ts';

const skip = withoutEngine || (lacksMpi() ?? false);
const folder = temporaryFolder('mpi');
const path = (name: string) => join(folder, name);
const write = (name: string, rows: readonly object[]) => {
  writeFileSync(path(name), toNdjson(rows));
  return path(name);
};
const pairs = write('pairs.ndjson', demoPairs(20));
const settings = ['--model', demoModel, '--lora-r', '8', '--lr', '1e-3', '--batch-size', '8', '--threads', '1', '-q'];

const start = (out: string, ...flags: string[]) => {
  ensureBuilt();
  const args = ['-n', '2', process.execPath, bin, 'train', ...settings, '-o', path(out), ...flags];
  return spawn('mpirun', args, { env: mpiEnv, stdio: ['ignore', 'pipe', 'pipe'] });
};
const done = async (child: ReturnType<typeof start>, out: string) => {
  const result = await collect(child);
  return { ...result, rows: readRows(result.stdout), dir: path(out) };
};
const two = (out: string, ...flags: string[]) => done(start(out, ...flags), out);
const one = async (out: string, ...flags: string[]) => {
  const result = await runCli(['train', ...settings, '-o', path(out), ...flags]);
  assert.equal(result.code, 0, result.stderr);
  return { ...result, rows: readRows(result.stdout), dir: path(out) };
};

test('1 rank x 8 = 2 ranks x 4, the live reference included; ZeRO-1 = ZeRO-0 bit for bit', { skip }, async () => {
  // 20 rows: every epoch ends with a short step of 4.
  const alone = await one('one', pairs, '--epochs', '2');
  const whole = await two('whole', pairs, '--epochs', '2', '--zero', '0');
  const split = await two('split', pairs, '--epochs', '2', '--zero', '1');
  for (const run of [whole, split]) {
    assert.equal(run.code, 0, run.stderr);
    assert.equal(run.rows.length, 6, 'rank 0 alone writes metrics');
    assertSameTraining(run, alone);
  }
  assert.deepEqual(adapterValues(path('split')), adapterValues(path('whole')));
  const state = (out: string) => readFileSync(join(path(out), 'checkpoint-000006/optimizer.safetensors'));
  assert.deepEqual(state('split'), state('whole'));
});

test('held-out records, answers, dropout and the mean of bco: two ranks as one', { skip }, async () => {
  const prompts = demoPrompts(3).map((record) => ({ ...record, sampling_params: { max_new_tokens: 6 } }));
  const flags = [pairs, '--loss', 'bco', '--lora-dropout', '0.2', '--eval-every', '2', '--sample-every', '3'].concat(
    ['--eval', write('held-out.ndjson', demoPairs(27).slice(20)), '--early-stop', '9'],
    ['--sample-prompts', write('prompts.ndjson', prompts), '--summary', path('summary.ndjson')],
  );
  const alone = await one('one-watched', ...flags);
  const both = await two('two-watched', ...flags);
  assert.equal(both.code, 0, both.stderr);
  assert.equal(both.rows.length, alone.rows.length);
  for (const [index, row] of alone.rows.entries())
    for (const [name, value] of Object.entries(row)) {
      if (/second|bytes/.test(name)) continue;
      const got = both.rows[index]![name];
      if (typeof value !== 'number') assert.equal(got, value, name);
      else
        assert.ok(Math.abs((got as number) - value) <= 1e-4 * (1 + Math.abs(value)), `${name}: ${got}, one: ${value}`);
    }
  assert.equal(both.rows.filter((row) => 'eval/loss' in row).length, 3);
  assertSameAdapter(both.dir, alone.dir);
  const samples = (dir: string) => readRows(readFileSync(join(dir, 'samples.ndjson'), 'utf8'));
  const answered = (dir: string) => samples(dir).map(({ step, id }) => [step, id]);
  assert.deepEqual(answered(both.dir), answered(alone.dir));
  assert.equal(answered(both.dir).length, 6);
  assert.deepEqual(samples(both.dir).slice(0, 3), samples(alone.dir).slice(0, 3));
  const cost = readRows(readFileSync(path('summary.ndjson'), 'utf8')).at(-1)!;
  assert.equal(cost.ranks, 2);
  assert.equal(cost.records_learnt, 20);
});

// The process of rank 1 of an mpirun.
const rankOne = (mpirun: number): number =>
  readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .find((pid) => {
      try {
        const parent = Number(/\nPPid:\t(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))![1]);
        return parent === mpirun && readFileSync(`/proc/${pid}/environ`, 'utf8').includes('OMPI_COMM_WORLD_RANK=1\0');
      } catch {
        return false; // it has just ended
      }
    })!;

/** Calls `act` once the run has written `count` metric rows. */
const afterRows = (child: ReturnType<typeof start>, count: number, act: () => void) => {
  let seen = '';
  const listen = (chunk: Buffer) => {
    seen += chunk;
    if (seen.split('\n').length <= count) return;
    child.stdout.off('data', listen);
    act();
  };
  child.stdout.on('data', listen);
};

test('a signal to one rank: both save and exit 75; one rank resumes, then two', { skip }, async () => {
  const flags = [pairs, '--epochs', '6'];
  const alone = await one('unbroken', ...flags);
  const child = start('resumed', ...flags, '--zero', '1');
  afterRows(child, 2, () => process.kill(rankOne(child.pid!), 'SIGTERM'));
  const first = await done(child, 'resumed');
  assert.equal(first.code, 75, first.stderr);
  assert.match(
    first.stderr,
    /train: stopped by SIGTERM after step \d+ of 18; .*resumed is saved: run again with --resume/,
  );
  assert.equal(first.stderr.match(/stopped by/g)!.length, 1, 'one rank says it for all');
  assert.ok(first.rows.length >= 2 && first.rows.length < 18, `${first.rows.length} steps before the stop`);

  // mpirun hands USR1 on to all of its processes.
  const again = start('resumed', ...flags, '--resume', '--zero', '1');
  afterRows(again, 2, () => again.kill('SIGUSR1'));
  const second = await done(again, 'resumed');
  assert.equal(second.code, 75, second.stderr);
  const last = await one('resumed', ...flags, '--resume');
  const rows = [...first.rows, ...second.rows, ...last.rows];
  assertSameTraining({ rows, dir: path('resumed') }, alone);
  assert.ok(!readdirSync(path('resumed')).some((name) => name.endsWith('.partial')));
});

test('a row that fails on one rank ends both, with its rank and its id', { skip }, async () => {
  const rows = demoPairs(8, { reference: true });
  Object.assign(rows[7]!, { id: 'too-far', ref_chosen_logps: -1e308, ref_rejected_logps: 1e308 });
  const input = write('nonfinite.ndjson', rows);
  const flags = ['--no-shuffle', '--loss', 'ipo', '--allow-ref-mismatch'];
  const result = await two('nonfinite', input, ...flags);
  assert.equal(result.code, 1, result.stderr);
  assert.match(result.stderr, /vpref train: rank 1: the loss of row too-far is not finite/);
  assert.equal(result.stderr.match(/^vpref train:/gm)!.length, 1, 'the other rank is silent');
  assert.ok(!existsSync(join(path('nonfinite'), 'adapter_model.safetensors')));
});

test('a picture that one rank alone decodes, and cannot, ends both by name', { skip }, async () => {
  const rows = demoPairs(8, { reference: true });
  writeFileSync(path('broken.png'), 'no picture');
  rows[6]!.images = [path('broken.png')];
  const result = await two('broken', write('broken.ndjson', rows), '--no-shuffle', '--allow-ref-mismatch');
  assert.equal(result.code, 2, result.stderr);
  assert.match(result.stderr, /vpref train: rank 1: .*broken\.ndjson:7: .*broken\.png/);
});

test('a rank that is killed ends the other', { skip }, async () => {
  const child = start('killed', pairs, '--epochs', '50');
  afterRows(child, 1, () => process.kill(rankOne(child.pid!), 'SIGKILL'));
  const result = await done(child, 'killed');
  assert.notEqual(result.code, 0);
  assert.ok(result.rows.length < 150);
});

test('refused before anything is read: stdin, another number of ranks', { skip }, async () => {
  const stdin = await two('refused', '-');
  assert.equal(stdin.code, 2, stdin.stderr);
  assert.match(stdin.stderr, /FILE: expected with several ranks, each of which reads all records, got stdin/);
  const four = await two('refused', pairs, '--ranks', '4');
  assert.equal(four.code, 2, four.stderr);
  assert.match(four.stderr, /--ranks 4: expected as many processes, got 2 \(mpirun\)/);
});

test('the initial adapter is the same on all ranks', { skip }, async () => {
  await one('base', pairs, '--max-steps', '1');
  const flags = [pairs, '--max-steps', '2', '--init-adapter', path('base')];
  const args = (out: string) => [
    '--model',
    demoModel,
    '--lr',
    '1e-3',
    '--batch-size',
    '8',
    '--threads',
    '1',
    '-q',
    '-o',
    path(out),
  ];
  const alone = await runCli(['train', ...args('further-one'), ...flags]);
  assert.equal(alone.code, 0, alone.stderr);
  const child = spawn('mpirun', ['-n', '2', process.execPath, bin, 'train', ...args('further-two'), ...flags], {
    env: mpiEnv,
  });
  assert.equal((await collect(child)).code, 0);
  assertSameAdapter(path('further-two'), path('further-one'));
});
