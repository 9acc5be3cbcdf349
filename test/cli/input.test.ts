// SPDX-License-Identifier: Apache-2.0
import assert from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { type BadRow, checkFiles, type InputOptions, type InputRow, readRows } from '../../src/cli/input.ts';
import { newCounts } from '../../src/cli/progress.ts';
import { temporaryFolder } from '../support/run-cli.ts';

const folder = temporaryFolder('input');

function file(name: string, ...lines: string[]): string {
  const path = join(folder, name);
  writeFileSync(path, lines.map((line) => `${line}\n`).join(''));
  return path;
}

async function read(files: string[], options: Partial<InputOptions> = {}): Promise<(InputRow | BadRow)[]> {
  const rows: (InputRow | BadRow)[] = [];
  const stop = new AbortController().signal;
  for await (const batch of readRows({ files, stop, counts: newCounts(), ...options })) rows.push(...batch);
  return rows;
}

const ids = (rows: (InputRow | BadRow)[]) =>
  rows.map((row) => ('error' in row ? row.error.message.replace(/^.*\//, '') : row.record.id));
const records = (prefix: string, n: number) =>
  Array.from({ length: n }, (_, i) => `{"id":"${prefix}${i}","prompt":"p"}`);

describe('readRows', () => {
  test('reads files one after the other, each with its own line numbers', async () => {
    const rows = await read([file('a', ...records('a', 2)), file('b', '', ...records('b', 1))]);
    assert.deepEqual(ids(rows), ['a0', 'a1', 'b0']);
    assert.deepEqual(
      rows.map(({ line }) => line),
      [1, 2, 2],
    );
  });

  test('bad lines come in their place, with the record when it has an id', async () => {
    const rows = await read([file('c', '{"id":"x"}', 'null', '{"id":1,"prompt":"p"}', ...records('c', 1))]);
    assert.deepEqual(ids(rows), [
      'c:1: prompt: expected a string or an array of messages, got nothing',
      'c:2: record: expected an object, got null',
      'c:3: id: expected a non-empty string, got number 1',
      'c0',
    ]);
    assert.deepEqual(
      rows.map((row) => 'error' in row && row.record?.id),
      ['x', undefined, undefined, false],
    );
  });

  test('an id that was there before is an error, also in another file', async () => {
    const rows = await read([file('d', ...records('d', 2)), file('e', records('d', 2)[1]!)]);
    assert.deepEqual(ids(rows), ['d0', 'd1', 'e:1: id: expected an id not seen before, got string "d1"']);
  });

  test('the shards of every count together are the whole, under --limit too', async () => {
    const path = file('f', ...records('f', 23));
    for (const limit of [undefined, 0, 1, 10]) {
      const whole = ids(await read([path], { limit }));
      assert.equal(whole.length, limit ?? 23);
      for (const count of [1, 2, 3, 40]) {
        const shards = await Promise.all(
          Array.from({ length: count }, (_, index) => read([path], { limit, shard: { index, count } })),
        );
        assert.deepEqual(shards.flatMap(ids).sort(), [...whole].sort());
      }
    }
  });

  test('rows done before are counted and left out', async () => {
    const counts = newCounts();
    const rows = await read([file('g', ...records('g', 4))], { isDone: (id) => id !== 'g2', counts });
    assert.deepEqual(ids(rows), ['g2']);
    assert.deepEqual([counts.read, counts.done], [4, 3]);
  });

  test('an aborted signal ends the input without an error', async () => {
    const stop = new AbortController();
    const rows: unknown[] = [];
    const path = file('h', ...records('h', 50_000));
    for await (const batch of readRows({ files: [path], stop: stop.signal, counts: newCounts() }))
      for (const row of batch) {
        rows.push(row);
        if (rows.length === 10) stop.abort();
      }
    assert.equal(rows.length, 10);
  });

  test('bytes are counted against their total', async () => {
    const counts = newCounts();
    await read([file('i', ...records('i', 4))], { counts });
    assert.ok(counts.bytesRead > 0);
    assert.equal(counts.bytesRead, counts.bytesTotal);
  });
});

test('checkFiles names the file that is not there, or is a folder', () => {
  mkdirSync(join(folder, 'sub'));
  checkFiles(['-', file('j')]);
  assert.throws(() => checkFiles([join(folder, 'none')]), {
    name: 'UsageError',
    message: /none: expected a file, got nothing of that name/,
  });
  assert.throws(() => checkFiles([join(folder, 'sub')]), /sub: expected a file, got a directory/);
});
