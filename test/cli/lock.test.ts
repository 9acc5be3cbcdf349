// SPDX-License-Identifier: Apache-2.0
// Covers src/cli/lock-holder.ts
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, renameSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { dirname, join } from 'node:path';
import { describe, test } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import { lockBeside, OutputLock } from '../../src/cli/lock.ts';
import { temporaryFolder } from '../support/run-cli.ts';

const newPath = () => lockBeside(join(temporaryFolder('lock'), 'out'));
const options = { command: 'vpref test', subject: '-o out', env: {} };
const take = (path: string, more: object = {}) => OutputLock.take(path, { ...options, ...more });
const held = (message: RegExp) => ({ name: 'RunError', code: 'locked', message });

/** A lock as a process that is gone left it; by default one of this machine. */
async function leave(path: string, change: Record<string, unknown>): Promise<void> {
  const lock = await take(path);
  const holder = JSON.parse(readFileSync(path, 'utf8'));
  lock.release();
  writeFileSync(path, JSON.stringify({ ...holder, token: 'theirs', ...change }));
}

/** A number that no process has. */
function deadPid(): number {
  return spawnSync('true').pid;
}

const elsewhere = { host: 'other-node', machine: 'another boot', pid: 1 };

describe('OutputLock', () => {
  test('there is one holder, and the message names it', async () => {
    const path = newPath();
    const lock = await take(path);
    await assert.rejects(
      take(path),
      held(new RegExp(`-o out: is being written by vpref test, process ${process.pid} on ${hostname()}, since 2`)),
    );
    lock.release();
    lock.release();
    (await take(path)).release();
    assert.deepEqual(readdirSync(dirname(path)), []);
  });

  test('the lock of an ended process is taken over at once', async () => {
    for (const change of [{ pid: deadPid() }, { start: '1' }]) {
      const path = newPath();
      await leave(path, change);
      const lock = await take(path, { staleMs: 1e9 });
      assert.equal(lock.isFromElsewhere, false);
      lock.release();
      assert.deepEqual(readdirSync(dirname(path)), []);
    }
  });

  test('a process that has ended but was not waited for is gone too', async () => {
    const path = newPath();
    // The shell starts a child, becomes sleep, and never waits for it.
    const parent = spawn('sh', ['-c', 'true & echo $!; exec sleep 30'], { stdio: ['ignore', 'pipe', 'ignore'] });
    try {
      const pid = await new Promise<number>((resolve) => parent.stdout.once('data', (text) => resolve(Number(text))));
      await setTimeout(50);
      await leave(path, { pid, start: undefined });
      (await take(path, { staleMs: 1e9 })).release();
    } finally {
      parent.kill();
    }
  });

  test('one of several processes gets a stale lock', async () => {
    for (let round = 0; round < 20; round++) {
      const path = newPath();
      await leave(path, { pid: deadPid() });
      const results = await Promise.allSettled(Array.from({ length: 8 }, () => take(path)));
      const locks = results.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []));
      assert.equal(locks.length, 1);
      locks[0]!.check({ now: true });
      locks[0]!.release();
      assert.deepEqual(readdirSync(dirname(path)), []);
    }
  });

  test('on another machine: held while its heartbeat continues, taken over after a time without one', async () => {
    const path = newPath();
    await leave(path, elsewhere);
    const beat = setInterval(() => utimesSync(path, new Date(), new Date()), 100);
    const notes: string[] = [];
    await assert.rejects(
      take(path, { staleMs: 20_000, note: (message: string) => notes.push(message) }),
      held(/process 1 on other-node, since .*: wait until it ends, or delete .*\.out\.lock if that process is gone/),
    );
    clearInterval(beat);
    assert.equal(notes.length, 1);
    assert.match(notes[0]!, /held by vpref test, process 1 on other-node.*waiting up to 20 s for its heartbeat/);
    const lock = await take(path, { staleMs: 600 });
    assert.equal(lock.isFromElsewhere, true);
    lock.release();
  });

  test('on another machine and long past, at once', async () => {
    const path = newPath();
    await leave(path, elsewhere);
    utimesSync(path, new Date(0), new Date(0));
    const lock = await take(path, { note: () => assert.fail('waits') });
    lock.release();
  });

  test('an unreadable lock counts as held', async () => {
    const path = newPath();
    writeFileSync(path, '');
    const lock = await take(path, { staleMs: 600 });
    assert.equal(lock.isFromElsewhere, true);
    lock.release();
  });

  test('a job that Slurm started again takes the lock of its earlier start, of no other', async () => {
    const path = newPath();
    const job = { ...elsewhere, job: 'c1/77', restart: 0 };
    const env = { SLURM_JOB_ID: '77', SLURM_CLUSTER_NAME: 'c1', SLURM_RESTART_COUNT: '1' };
    await leave(path, job);
    const lock = await take(path, { env, staleMs: 1e9, note: () => assert.fail('waits') });
    assert.equal(lock.isFromElsewhere, true);
    lock.release();
    for (const other of [{ job: 'c1/78' }, { job: 'c2/77' }, { restart: 1 }]) {
      await leave(path, { ...job, ...other });
      const beat = setInterval(() => utimesSync(path, new Date(), new Date()), 100);
      await assert.rejects(take(path, { env, staleMs: 20_000 }), held(/is being written by/));
      clearInterval(beat);
      rmSync(path);
    }
  });

  test('writes a heartbeat, and notices a takeover', async () => {
    const path = newPath();
    const lock = await take(path, { staleMs: 180 });
    utimesSync(path, new Date(0), new Date(0));
    await setTimeout(100);
    lock.check();
    const info = readFileSync(path, 'utf8');
    assert.doesNotThrow(() => JSON.parse(info));
    await assert.rejects(take(path, { staleMs: 1e9 }), held(/is being written/));
    writeFileSync(`${path}.other`, JSON.stringify({ ...JSON.parse(info), ...elsewhere, token: 'theirs' }));
    renameSync(`${path}.other`, path);
    assert.throws(
      () => lock.check({ now: true }),
      held(/no longer held by this run: it was taken over by vpref test, process 1 on other-node/),
    );
    lock.release();
    assert.ok(existsSync(path));
    rmSync(path);
    assert.throws(() => lock.check({ now: true }), held(/its lock was removed/));
  });
});
