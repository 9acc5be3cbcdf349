// SPDX-License-Identifier: Apache-2.0
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { mapOrdered, type OrderedWork } from '../../src/flow/ordered.ts';
import type { Row, RowResult } from '../../src/flow/stage.ts';

async function* numbered(count: number): AsyncGenerator<Row> {
  for (let line = 1; line <= count; line += 1) yield { record: { id: `r${line}`, prompt: '' }, source: 's', line };
}

const done = (row: Row): RowResult => ({ row, records: [row.record] });

function work(start: OrderedWork['start'], more: Partial<OrderedWork> = {}): OrderedWork {
  return { window: 8, graceMs: 50, stop: () => {}, abort: () => {}, start, ...more };
}

/** Lines of the results, and the error that ended them. */
async function collect(results: AsyncIterable<RowResult>) {
  const lines: number[] = [];
  try {
    for await (const { row } of results) lines.push(row.line);
  } catch (cause) {
    return { lines, cause };
  }
  return { lines, cause: undefined };
}

test('input order, however long each row takes, and never more than the window', async () => {
  let running = 0;
  let most = 0;
  const start = async (row: Row) => {
    running += 1;
    most = Math.max(most, running);
    await delay((row.line * 7) % 5);
    running -= 1;
    return done(row);
  };
  const { lines } = await collect(mapOrdered(numbered(60), work(start)));
  assert.deepEqual(
    lines,
    Array.from({ length: 60 }, (_, index) => index + 1),
  );
  assert.ok(most <= 8 && most > 1, String(most));
});

test('no rows at all', async () => {
  assert.deepEqual(
    await collect(
      mapOrdered(
        numbered(0),
        work(async (row) => done(row)),
      ),
    ),
    { lines: [], cause: undefined },
  );
});

test('a failure stops reading, yields the finished rows before it, and ends with its cause', async () => {
  const stopped: string[] = [];
  const failure = new Error('no more');
  const start = async (row: Row) => {
    if (row.line === 5) throw failure;
    await delay(row.line < 5 ? 5 : 10_000, undefined, { ref: false });
    return done(row);
  };
  const more = { stop: () => stopped.push('stop'), abort: () => stopped.push('abort') };
  const { lines, cause } = await collect(mapOrdered(numbered(100), work(start, more)));
  assert.deepEqual(lines, [1, 2, 3, 4]);
  assert.equal(cause, failure);
  assert.deepEqual(stopped, ['stop', 'abort']);
});

test('after a failure, rows before it that take too long are not awaited', async () => {
  const start = async (row: Row) => {
    if (row.line === 3) throw new Error('no more');
    if (row.line === 2) await new Promise(() => {});
    return done(row);
  };
  const timer = setInterval(() => {}, 1000);
  const { lines, cause } = await collect(mapOrdered(numbered(9), work(start)));
  clearInterval(timer);
  assert.deepEqual(lines, [1]);
  assert.match(String(cause), /no more/);
});

test('the first of several failures is thrown', async () => {
  const start = async (row: Row) => {
    await delay(row.line === 4 ? 1 : 20);
    throw new Error(`row ${row.line}`);
  };
  const { cause } = await collect(mapOrdered(numbered(8), work(start)));
  assert.match(String(cause), /row 4/);
});

test('a signal ends the run like a failure, with its reason', async () => {
  const signal = new AbortController();
  const start = async (row: Row) => {
    if (row.line === 3) signal.abort(new Error('asked to stop'));
    if (row.line > 3) await new Promise((_, reject) => setTimeout(() => reject(new Error('late')), 5));
    return done(row);
  };
  const { lines, cause } = await collect(mapOrdered(numbered(50), work(start, { signal: signal.signal })));
  assert.deepEqual(lines, [1, 2, 3]);
  assert.match(String(cause), /asked to stop/);
});

test('an error of the input comes after the rows before it', async () => {
  async function* broken() {
    yield* numbered(3);
    throw new Error('line 4 is bad');
  }
  const { lines, cause } = await collect(
    mapOrdered(
      broken(),
      work(async (row) => done(row)),
    ),
  );
  assert.deepEqual(lines, [1, 2, 3]);
  assert.match(String(cause), /line 4 is bad/);
});

test('a consumer that stops ends the work and the input', async () => {
  let isClosed = false;
  let isAborted = false;
  async function* endless() {
    try {
      for (let line = 1; ; line += 1) yield { record: { id: `r${line}`, prompt: '' }, source: 's', line };
    } finally {
      isClosed = true;
    }
  }
  const abort = () => {
    isAborted = true;
  };
  for await (const _ of mapOrdered(
    endless(),
    work(async (row) => done(row), { abort }),
  ))
    break;
  await delay(1);
  assert.deepEqual([isAborted, isClosed], [true, true]);
});

test('a hanging row delays only its own result: others are processed up to the limit of held results', async () => {
  let started = 0;
  let release = () => {};
  const hung = new Promise<void>((resolve) => {
    release = resolve;
  });
  const run = (held: { rows: number; bytes: number }) =>
    mapOrdered(
      numbered(100),
      work(
        async (row) => {
          started += 1;
          if (row.line === 1) await hung;
          return done(row);
        },
        { window: 4, held },
      ),
    );
  const after = async (results: AsyncIterable<RowResult>) => {
    started = 0;
    const all = collect(results);
    await delay(20);
    const before = started;
    release();
    const { lines } = await all;
    assert.deepEqual([lines.length, lines[0], lines[99]], [100, 1, 100]);
    return before;
  };
  assert.equal(await after(run({ rows: 60, bytes: 1e9 })), 60);
});

test('finished rows are held up to a limit of bytes', async () => {
  let started = 0;
  let release = () => {};
  const hung = new Promise<void>((resolve) => {
    release = resolve;
  });
  const all = collect(
    mapOrdered(
      numbered(100),
      work(
        async (row) => {
          started += 1;
          if (row.line === 1) await hung;
          return { row, records: [{ ...row.record, prompt: 'x'.repeat(5000) }] };
        },
        { window: 4, held: { rows: 100, bytes: 100_000 } },
      ),
    ),
  );
  await delay(20);
  assert.ok(started >= 10 && started <= 16, String(started));
  release();
  assert.equal((await all).lines.length, 100);
});
