// SPDX-License-Identifier: Apache-2.0
import assert from 'node:assert/strict';
import { PassThrough } from 'node:stream';
import { describe, test } from 'node:test';
import type { BadRow, InputRow } from '../../src/cli/input.ts';
import { type JournalEntry, nothingDone } from '../../src/cli/journal.ts';
import { type PipeOptions, pipeResults, pipeRows, pipeTable } from '../../src/cli/pipe.ts';
import { newCounts, Reporter } from '../../src/cli/progress.ts';
import { mapRows, mapRowsConcurrently, type Row, type RowResult, type Stage } from '../../src/flow/stage.ts';
import { RecordError, RunError } from '../../src/records/error.ts';
import type { VprefRecord } from '../../src/records/record.ts';

function harness(onError: PipeOptions['onError'] = 'fail') {
  const lines: string[] = [];
  const journal: JournalEntry[] = [];
  const stderr = new PassThrough();
  const options: PipeOptions = {
    sink: {
      done: nothingDone(),
      push: (line) => lines.push(line),
      note: (entry) => journal.push(entry),
      ready: undefined,
      finish: async () => {},
      save: async () => {},
    },
    onError,
    stage: 'pair',
    counts: newCounts(),
    reporter: new Reporter('t', { progress: 'never', quiet: false, stream: stderr as unknown as NodeJS.WriteStream }),
  };
  return {
    options,
    lines,
    journal,
    ids: () => lines.map((line) => JSON.parse(line).id),
    said: () => String(stderr.read() ?? ''),
  };
}

const record = (id: string, extra: object = {}): VprefRecord => ({ id, prompt: 'p', ...extra });
const row = (id: string, extra: object = {}): InputRow => ({
  record: record(id, extra),
  source: 'in',
  line: Number(id.slice(1)),
});
const bad = (line: number): BadRow => ({
  source: 'in',
  line,
  error: new RecordError({ source: 'in', line }, 'prompt', 'a string', 'nothing'),
});
const failed = { error: { stage: 'sample', code: 'x', message: 'y' } };

/** Rows in batches of two. */
async function* batches(...rows: (InputRow | BadRow)[]): AsyncGenerator<Iterable<InputRow | BadRow>> {
  for (let at = 0; at < rows.length; at += 2) yield rows.slice(at, at + 2);
}

async function* feed<T>(...items: T[]): AsyncGenerator<T> {
  yield* items;
}

const upper = mapRows(({ record }) => {
  if (record.boom) throw new RunError('boom', 'went wrong');
  if (record.drop) return { dropped: 'unwanted' };
  if (record.twice) return [0, 1].map((k) => ({ ...record, id: `${record.id}#${k}`, group: record.id }));
  return [{ ...record, done: true }];
});

describe('pipeRows', () => {
  for (const [kind, stage] of [
    ['a row at a time', upper],
    ['as a stream', (rows: AsyncIterable<Row>) => upper(rows)],
  ] as [string, Stage][]) {
    test(`keeps order, ${kind}: rows that failed earlier go around the stage in their place`, async () => {
      const { options, lines, ids } = harness();
      await pipeRows(batches(row('q1'), row('q2', failed), row('q3'), row('q4', failed)), stage, options);
      assert.deepEqual(ids(), ['q1', 'q2', 'q3', 'q4']);
      assert.deepEqual(JSON.parse(lines[1]!), record('q2', failed));
      assert.equal(options.counts.passed, 2);
    });

    test(`${kind}: waits for a slow reader, and shows each result to the progress line`, async () => {
      const { options, lines } = harness();
      const seen: [lines: number, ids: string[]][] = [];
      options.reporter.figures = { see: ({ records }) => seen.push([lines.length, records.map(({ id }) => id)]) };
      let waits = 0;
      const wait = async () => {
        waits += 1;
      };
      Object.defineProperty(options.sink, 'ready', { get: wait });
      await pipeRows(batches(row('q1'), row('q2', { twice: 1 }), row('q3')), stage, options);
      assert.deepEqual(seen, [
        [0, ['q1']],
        [1, ['q2#0', 'q2#1']],
        [3, ['q3']],
      ]);
      assert.ok(waits >= 3, String(waits));
    });
  }

  test('the journal records what ids do not show: several rows, none, a failure', async () => {
    const { options, journal } = harness('skip');
    await pipeRows(
      batches(row('q1'), row('q2', { twice: 1 }), row('q3', { drop: 1 }), row('q4', { boom: 1 })),
      upper,
      options,
    );
    assert.deepEqual(journal, [
      { id: 'q2', rows: ['q2#0', 'q2#1'] },
      { id: 'q3', rows: [], dropped: 'unwanted' },
      { id: 'q4', rows: [], error: 'boom' },
    ]);
    assert.deepEqual(Object.fromEntries(options.counts.dropped), { unwanted: 1 });
  });

  for (const [name, broken, message] of [
    ['a bad line', bad(3), /^in:3: prompt: expected a string, got nothing$/],
    ['a failing row', row('q3', { boom: 1 }), /^in:3: record "q3": went wrong$/],
  ] as const) {
    test(`--on-error fail: ${name} ends the run after the rows before it, although later ones were in work`, async () => {
      const slow = mapRowsConcurrently(async ({ record }) => {
        await new Promise((resolve) => setTimeout(resolve, record.id === 'q1' ? 20 : 1));
        if (record.boom) throw new RunError('boom', 'went wrong');
        return [record];
      }, 4);
      const { options, ids } = harness();
      await assert.rejects(pipeRows(batches(row('q1'), row('q2'), broken, row('q4')), slow, options), { message });
      assert.deepEqual(ids(), ['q1', 'q2']);
    });

    test(`--on-error skip: ${name} is printed, counted and skipped`, async () => {
      const { options, ids, said } = harness('skip');
      await pipeRows(batches(row('q1'), broken, row('q4')), upper, options);
      assert.deepEqual(ids(), ['q1', 'q4']);
      assert.equal(options.counts.skipped, 1);
      assert.match(said(), /^t: in:3: .*\n$/);
    });
  }

  test('--on-error keep writes the row with its error; a line without a record is left out', async () => {
    const { options, lines } = harness('keep');
    await pipeRows(batches(row('q1', { boom: 1 }), bad(2), row('q3')), upper, options);
    assert.deepEqual(
      lines.map((line) => JSON.parse(line)),
      [
        record('q1', { boom: 1, error: { stage: 'pair', code: 'boom', message: 'went wrong' } }),
        record('q3', { done: true }),
      ],
    );
    assert.deepEqual([options.counts.kept, options.counts.skipped], [1, 1]);
  });

  test('after twenty failures the rest are only counted', async () => {
    const { options, said } = harness('skip');
    await pipeRows(batches(...Array.from({ length: 30 }, (_, i) => bad(i + 1))), upper, options);
    assert.equal(said().split('\n').length - 1, 21);
    assert.equal(options.counts.skipped, 30);
  });

  test('a stage that loses a row is an error', async () => {
    async function* loses(rows: AsyncIterable<Row>): AsyncGenerator<RowResult> {
      for await (const row of rows) if (row.line !== 2) yield { row, records: [row.record] };
    }
    await assert.rejects(
      pipeRows(batches(row('q1'), row('q2'), row('q3')), loses, harness().options),
      /no result for record "q2"/,
    );
  });

  test("a stage's programming error is thrown on, not made a failed row", async () => {
    const stage = mapRows(() => (undefined as unknown as { x: () => never }).x());
    await assert.rejects(pipeRows(batches(row('q1')), stage, harness('skip').options), TypeError);
  });
});

describe('pipeResults and pipeTable', () => {
  test('results done before are left out and counted', async () => {
    const { options, ids } = harness();
    (options.sink as { done: unknown }).done = { ...nothingDone(), has: (id: string) => id === 'q1' };
    await pipeResults(feed<RowResult>(...['q1', 'q2'].map((id) => ({ row: row(id), records: [record(id)] }))), options);
    assert.deepEqual(ids(), ['q2']);
    assert.deepEqual([options.counts.read, options.counts.done, options.counts.written], [2, 1, 1]);
  });

  test('a table takes objects and ready lines', async () => {
    const { options, lines } = harness();
    await pipeTable(feed<object | string>({ step: 1, loss: 0.5 }, 'a  b'), options.sink);
    assert.deepEqual(lines, ['{"step":1,"loss":0.5}', 'a  b']);
  });
});

test('a rewritten row that would lose a repeated key fails; a row with only new fields keeps its text', async () => {
  const text = '{"id":"r1","prompt":"p","x":1,"x":2}';
  const twice = (): InputRow => {
    const record = JSON.parse(text);
    return { source: 'in', line: 1, record, input: { text, record } };
  };
  const grows = harness('skip');
  await pipeRows(
    batches(twice()),
    mapRows(({ record }) => [{ ...record, chosen: 'c' }]),
    grows.options,
  );
  assert.deepEqual(grows.lines, ['{"id":"r1","prompt":"p","x":1,"x":2,"chosen":"c"}']);
  const changes = harness('skip');
  await pipeRows(
    batches(twice(), row('r2')),
    mapRows(({ record }) => [{ ...record, prompt: 'q' }]),
    changes.options,
  );
  assert.deepEqual(changes.ids(), ['r2']);
  assert.match(changes.said(), /in:1: record "r1": record: expected each key once, got "x" twice/);
});
