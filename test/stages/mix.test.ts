// SPDX-License-Identifier: Apache-2.0
// Covers src/commands/mix.ts
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { before, describe, test } from 'node:test';
import { mix, mixShares } from '../../src/stages/mix.ts';
import { ensureBuilt, runShell, temporaryFolder } from '../support/run-cli.ts';

before(ensureBuilt);

const file = (source: string, weight: number, numRows: number) => ({
  source,
  weight,
  numRows,
  async *rows() {
    for (let line = 1; line <= numRows; line++) yield { source, line, record: { id: `${source}${line}`, prompt: 'q' } };
  },
});

async function idsOf(files: ReturnType<typeof file>[], shares: number[], seed: number): Promise<string[]> {
  const ids = [];
  for await (const { row, error } of mix(files, shares, seed)) {
    assert.equal(error, undefined);
    ids.push(row.record.id);
  }
  return ids;
}

describe('shares', () => {
  test('with a limit they are rounded by the largest remainder', () => {
    assert.deepEqual(mixShares([file('a', 3, 100), file('b', 1, 100)], 8), [6, 2]);
    assert.deepEqual(mixShares([file('a', 1, 9), file('b', 1, 9), file('c', 1, 9)], 8), [3, 3, 2]);
    assert.deepEqual(mixShares([file('a', 0.7, 9), file('b', 0.3, 9)], 3), [2, 1]);
  });

  test('without a limit the first file to run out decides', () => {
    assert.deepEqual(mixShares([file('a', 3, 30), file('b', 1, 100)]), [30, 10]);
    assert.deepEqual(mixShares([file('a', 0.7, 7), file('b', 0.1, 50)]), [7, 1]);
    assert.deepEqual(mixShares([file('a', 1, 0), file('b', 1, 5)]), [0, 0]);
  });

  test('a file with fewer rows than its share is named with both numbers', () => {
    assert.throws(
      () => mixShares([file('a', 3, 5), file('b', 1, 100)], 8),
      /a: expected at least 6 rows, its share of --limit 8, got 5/,
    );
  });
});

describe('rows', () => {
  test('each file gives its share, in its order, none twice, the same for the same seed', async () => {
    const files = [file('a', 3, 40), file('b', 1, 25)];
    const ids = await idsOf(files, [30, 10], 7);
    assert.equal(new Set(ids).size, 40);
    for (const [name, count] of [
      ['a', 30],
      ['b', 10],
    ] as const) {
      const lines = ids.filter((id) => id.startsWith(name)).map((id) => Number(id.slice(1)));
      assert.equal(lines.length, count);
      assert.deepEqual(
        lines,
        [...lines].sort((x, y) => x - y),
      );
    }
    assert.deepEqual(await idsOf(files, [30, 10], 7), ids);
    assert.notDeepEqual(await idsOf(files, [30, 10], 8), ids);
  });

  test('every row of a file is taken equally often, and every place holds each file in proportion', async () => {
    const [taken, first] = [new Map<string, number>(), new Map<string, number>()];
    const runs = 2000;
    for (let seed = 0; seed < runs; seed++) {
      const ids = await idsOf([file('a', 1, 10), file('b', 1, 4)], [3, 1], seed);
      for (const id of ids) taken.set(id, (taken.get(id) ?? 0) + 1);
      for (const [place, id] of ids.entries())
        if (place === 3 && id.startsWith('b')) first.set('b', (first.get('b') ?? 0) + 1);
    }
    // 0.3 and 0.25 of the runs; five standard deviations.
    for (let line = 1; line <= 10; line++) assert.ok(Math.abs(taken.get(`a${line}`)! - 600) < 103, `a${line}`);
    for (let line = 1; line <= 4; line++) assert.ok(Math.abs(taken.get(`b${line}`)! - 500) < 97, `b${line}`);
    assert.ok(Math.abs(first.get('b')! - 500) < 97);
  });

  test('an id of two files is the error of the later row', async () => {
    const files = [file('a', 1, 2), { ...file('b', 1, 2), rows: file('a', 1, 2).rows }];
    const errors = [];
    for await (const { error } of mix(files, [2, 2], 0)) if (error !== undefined) errors.push(error.message);
    assert.equal(errors.length, 2);
    for (const message of errors) assert.match(message, /id: expected an id not seen before, got "a[12]"/);
  });
});

describe('the command', { concurrency: 2 }, () => {
  const lines = (name: string, count: number) =>
    Array.from(
      { length: count },
      (_, i) => `{"id":"${name}${i}","prompt":"q","n":12345678901234567890,"chosen":"x","rejected":"y"}\n`,
    ).join('');
  const folder = () => {
    const cwd = temporaryFolder('mix');
    writeFileSync(join(cwd, 'a'), lines('a', 60));
    writeFileSync(join(cwd, 'b:1'), lines('b', 30));
    return cwd;
  };

  test('writes the rows unchanged and prints the number of each file', async () => {
    const { stdout, stderr, code } = await runShell('vpref mix a:3 b:1:1 --limit 20', { cwd: folder() });
    assert.equal(code, 0, stderr);
    assert.match(stderr, /15 of 60 rows of a, 5 of 30 rows of b:1/);
    assert.equal(stdout.trimEnd().split('\n').length, 20);
    for (const line of stdout.trimEnd().split('\n')) assert.match(line, /"n":12345678901234567890/);
  });

  test('resumed after a failed write it gives the bytes of an uninterrupted run; other weights are refused', async () => {
    const cwd = folder();
    await runShell('vpref mix a:2 b:1:1 -o whole', { cwd });
    const failed = await runShell('(ulimit -f 1; vpref mix a:2 b:1:1 -o cut)', { cwd });
    assert.notEqual(failed.code, 0);
    for (const words of ['a:3 b:1:1', 'a:2 b:1:1 --limit 12', 'a:2 b:1:1 --seed 1']) {
      const { code, stderr } = await runShell(`vpref mix ${words} -o cut --resume`, { cwd });
      assert.equal(code, 2, words);
      assert.match(stderr, /cut/);
    }
    const resumed = await runShell('vpref mix a:2 b:1:1 -o cut --resume', { cwd });
    assert.equal(resumed.code, 0, resumed.stderr);
    assert.deepEqual(readFileSync(join(cwd, 'cut')), readFileSync(join(cwd, 'whole')));
  });

  for (const [words, message] of [
    ['a:3', /expected two or more of FILE:WEIGHT, got 1/],
    ['a b:1:1', /expected FILE:WEIGHT with a positive weight, got "a"/],
    ['a:0 b:1:1', /expected FILE:WEIGHT with a positive weight, got "a:0"/],
    ['a:-2 b:1:1', /got "a:-2"/],
    ['a:nan b:1:1', /got "a:nan"/],
    ['a:1 -- -:1', /-: expected a file, because it is read twice/],
    ['a:1 gone:1', /gone: expected a file, got nothing of that name/],
    ['a:1 b:1:1 --limit 100', /b:1: expected at least 50 rows, its share of --limit 100, got 30/],
  ] as const)
    test(`mix ${words} is refused`, async () => {
      const { code, stderr } = await runShell(`vpref mix ${words}`, { cwd: folder() });
      assert.equal(code, 2);
      assert.match(stderr, message);
    });
});
