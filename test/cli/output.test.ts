// SPDX-License-Identifier: Apache-2.0
// Covers src/cli/device-sink.ts src/cli/ledger.ts src/cli/partial-file.ts
import assert from 'node:assert/strict';
import { appendFileSync, existsSync, mkdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { FileSink } from '../../src/cli/file-sink.ts';
import { openSink, openTableSink } from '../../src/cli/output.ts';
import { settingsPath } from '../../src/cli/settings-file.ts';
import { temporaryFolder } from '../support/run-cli.ts';

const settings = { command: 'pair', seed: 0 };
const line = (id: string, group?: string) => JSON.stringify({ id, prompt: 'p', ...(group && { group }) });
const read = (path: string) => readFileSync(path, 'utf8');

/** Writes rows as a stage would: several rows of one record are journaled first. */
function write(sink: FileSink, id: string, numRows = 1): void {
  if (numRows === 1) {
    sink.push(line(id));
    return;
  }
  const rows = Array.from({ length: numRows }, (_, k) => `${id}#${k}`);
  sink.note(numRows === 0 ? { id, rows, dropped: 'tie' } : { id, rows });
  for (const row of rows) sink.push(line(row, id));
}

async function unfinished(...rows: [id: string, numRows?: number][]): Promise<string> {
  const path = join(temporaryFolder('output'), 'out.ndjson');
  const sink = await FileSink.open({ path, resume: false, settings });
  for (const [id, numRows] of rows) write(sink, id, numRows);
  await sink.save();
  return path;
}

const resume = (path: string) => FileSink.open({ path, resume: true, settings });

describe('FileSink', () => {
  test('FILE appears when it is whole, and nothing else is left', async () => {
    const path = join(temporaryFolder('output'), 'out.ndjson');
    const sink = await FileSink.open({ path, resume: false, settings });
    write(sink, 'a');
    write(sink, 'b', 0);
    assert.ok(!existsSync(path));
    await sink.finish();
    assert.equal(read(path), `${line('a')}\n`);
    assert.ok(!existsSync(`${path}.partial`) && !existsSync(`${path}.journal`));
  });

  test('rows are in FILE.partial as soon as the stage waits', async () => {
    const path = join(temporaryFolder('output'), 'out.ndjson');
    const sink = await FileSink.open({ path, resume: false, settings });
    write(sink, 'a');
    await new Promise((resolve) => setImmediate(resolve));
    assert.equal(read(`${path}.partial`), `${line('a')}\n`);
    await sink.save();
  });

  test('a resumed run knows what is done: rows, dropped records, records of several rows', async () => {
    const path = await unfinished(['a'], ['b', 0], ['c', 2], ['d']);
    const sink = await resume(path);
    assert.deepEqual(['a', 'b', 'c', 'd', 'e', 'c#0'].map(sink.done.has), [true, true, true, true, false, false]);
    assert.equal(sink.done.rows, 4);
    assert.deepEqual([...sink.done.dropped], [['tie', 1]]);
    write(sink, 'e');
    await sink.finish();
    assert.equal(read(path), `${[line('a'), line('c#0', 'c'), line('c#1', 'c'), line('d'), line('e')].join('\n')}\n`);
  });

  test('whatever byte the file ends at, torn rows and torn groups are cut and the rest is kept', async () => {
    const rows: [string, number?][] = [['a'], ['b', 3], ['c', 0], ['d', 2]];
    const whole = read(`${await unfinished(...rows)}.partial`);
    for (let length = 0; length <= whole.length; length++) {
      const path = await unfinished(...rows);
      truncateSync(`${path}.partial`, length);
      const sink = await resume(path);
      for (const [id, numRows] of rows) if (!sink.done.has(id)) write(sink, id, numRows);
      await sink.finish();
      assert.equal(read(path), whole, `cut at ${length}`);
    }
  });

  test('a torn journal is cut too', async () => {
    const rows: [string, number?][] = [['a'], ['b', 3], ['c', 0]];
    const path = join(temporaryFolder('output'), 'out.ndjson');
    const first = await FileSink.open({ path, resume: false, settings });
    for (const [id, numRows] of rows) {
      write(first, id, numRows);
      await new Promise((resolve) => setImmediate(resolve));
    }
    await first.save();
    const journal = read(`${path}.journal`);
    const whole = read(`${path}.partial`);
    for (let length = 0; length <= journal.length; length++) {
      writeFileSync(`${path}.journal`, journal.slice(0, length));
      // The journal goes first: what it does not know is not in FILE.partial either.
      const known = journal.slice(0, length).split('\n').slice(0, -1);
      const extents = known.map((text) => JSON.parse(text)).filter(({ bytes }) => bytes !== undefined);
      writeFileSync(`${path}.partial`, whole.slice(0, extents.at(-1)?.bytes ?? 0));
      const sink = await resume(path);
      for (const [id, numRows] of rows) if (!sink.done.has(id)) write(sink, id, numRows);
      await sink.save();
      assert.equal(read(`${path}.partial`), whole);
      for (const text of read(`${path}.journal`).trim().split('\n')) JSON.parse(text);
      await (await resume(path)).save();
    }
  });

  test('derived ids that came in with the input are rows like any other', async () => {
    const path = join(temporaryFolder('output'), 'out.ndjson');
    const first = await FileSink.open({ path, resume: false, settings });
    first.push(line('x#0', 'x'));
    first.push(line('x#1', 'x'));
    await first.save();
    const sink = await resume(path);
    assert.deepEqual(['x#0', 'x#1', 'x#2'].map(sink.done.has), [true, true, false]);
    await sink.save();
  });

  test('an unfinished FILE is not written over without --resume', async () => {
    const path = await unfinished(['a']);
    await assert.rejects(FileSink.open({ path, resume: false, settings }), {
      name: 'UsageError',
      message: /rerun with --resume, or delete it/,
    });
    assert.equal(read(`${path}.partial`), `${line('a')}\n`);
  });

  test('other settings are refused by name', async () => {
    const path = await unfinished(['a']);
    const other = FileSink.open({ path, resume: true, settings: { ...settings, seed: 4 } });
    await assert.rejects(other, {
      name: 'UsageError',
      message: /--resume: seed: expected 0 as in the run that .*\.journal is of, got 4/,
    });
  });

  test('a finished FILE is a beginning too, and stays as it is until the new one is whole', async () => {
    const path = await unfinished(['a'], ['b', 2]);
    await (await resume(path)).finish();
    const before = read(path);
    const sink = await resume(path);
    assert.deepEqual(['a', 'b', 'c'].map(sink.done.has), [true, true, false]);
    write(sink, 'c');
    assert.equal(read(path), before);
    await sink.finish();
    assert.equal(read(path), `${before}${line('c')}\n`);
  });

  test('a FILE.partial with what its run did not write is not touched', async () => {
    for (const [change, message] of [
      [(text: string) => `${text}{"not":"a record"}\n`, /partial:3: expected a record of the earlier run/],
      [
        (text: string) => `${text}${line('z')}\n`,
        /partial:3: expected a row .* got row "z", which is not in its journal/,
      ],
      [(text: string) => `${text}${line('a')}\n`, /partial:3: expected a row .* got a second row "a"/],
      [
        (text: string) => text.replace('"a"', '"y"'),
        /partial:2: expected a row .* got another row, at this line or before/,
      ],
      [
        (text: string) => text.replace('"p"', '"other"'),
        /partial:2: expected a row .* got another row, at this line or before/,
      ],
    ] as const) {
      const path = await unfinished(['a'], ['b']);
      const changed = change(read(`${path}.partial`));
      writeFileSync(`${path}.partial`, changed);
      await assert.rejects(resume(path), { name: 'UsageError', message });
      assert.equal(read(`${path}.partial`), changed);
    }
  });

  test('a FILE.partial without its journal, or with one of version 0.1, is refused', async () => {
    const path = await unfinished(['a']);
    writeFileSync(`${path}.journal`, `${JSON.stringify({ journal: 1, settings })}\n`);
    await assert.rejects(resume(path), {
      name: 'UsageError',
      message: /expected the journal of a run of this version/,
    });
    rmSync(`${path}.journal`);
    await assert.rejects(resume(path), {
      name: 'UsageError',
      message: /expected the journal of its run beside it/,
    });
  });

  test('a finished FILE is continued only with the same settings and if unchanged', async () => {
    const path = await unfinished(['a'], ['b', 0]);
    await (await resume(path)).finish();
    assert.deepEqual(JSON.parse(read(settingsPath(path))).settings, settings);
    await assert.rejects(FileSink.open({ path, resume: true, settings: { ...settings, op: ['flip'] } }), {
      name: 'UsageError',
      message: /--resume: op: expected nothing as in the run that made .*out\.ndjson, got \["flip"\]/,
    });
    appendFileSync(path, `${line('z')}\n`);
    await assert.rejects(resume(path), { name: 'UsageError', message: /expected the \d+ bytes .* changed since/ });
    rmSync(settingsPath(path));
    await assert.rejects(resume(path), { name: 'UsageError', message: /expected the settings of its run in/ });
    assert.ok(!existsSync(`${path}.partial`));
  });

  test('killed while it continues a finished FILE, it resumes', async () => {
    const path = await unfinished(['a'], ['b', 2]);
    await (await resume(path)).finish();
    const before = read(path);
    const sink = await resume(path);
    write(sink, 'c');
    await sink.save();
    const again = await resume(path);
    assert.deepEqual(['a', 'b', 'c', 'd'].map(again.done.has), [true, true, true, false]);
    await again.finish();
    // Or before there is a FILE.partial.
    writeFileSync(`${path}.journal`, '{"journal":2}\n');
    const last = await resume(path);
    assert.deepEqual(['b', 'c', 'd'].map(last.done.has), [true, true, false]);
    await last.finish();
    assert.equal(read(path), `${before}${line('c')}\n`);
  });

  test('rows of records that the input does not have are found', async () => {
    const path = await unfinished(['a'], ['b', 2], ['c']);
    const sink = await resume(path);
    for (const id of ['a', 'b']) assert.ok(sink.done.has(id));
    assert.equal(sink.done.stray(), 'c');
    sink.done.has('c');
    assert.equal(sink.done.stray(), undefined);
    await sink.save();
  });

  test('a failure after the last row keeps its own message', async () => {
    const path = join(temporaryFolder('output'), 'out.ndjson');
    const sink = await FileSink.open({ path, resume: false, settings });
    write(sink, 'a');
    mkdirSync(path);
    const message = /out\.ndjson: cannot be written: EISDIR.*; .*out\.ndjson\.partial is saved/;
    await assert.rejects(sink.finish(), { name: 'RunError', message });
    await sink.save();
    assert.equal(read(`${path}.partial`), `${line('a')}\n`);
  });

  test('a run that wrote nothing leaves nothing', async () => {
    const path = await unfinished();
    assert.ok(!existsSync(`${path}.partial`) && !existsSync(`${path}.journal`));
  });
});

describe('openSink', () => {
  const fresh = { resume: false, settings: {} };

  test('an invalid path is an error with the reason', async () => {
    const folder = temporaryFolder('output');
    mkdirSync(join(folder, 'sub'));
    await assert.rejects(openSink(join(folder, 'sub'), fresh), /expected a file, got a directory/);
    await assert.rejects(openSink(join(folder, 'none/out'), fresh), /expected a file in a directory that exists/);
    await assert.rejects(openSink(undefined, { ...fresh, resume: true }), /--resume: expected -o FILE/);
    assert.throws(() => openTableSink(join(folder, 'sub')), /expected a file, got a directory/);
  });

  test('a device is written directly; a full one is an error', async () => {
    const sink = await openSink('/dev/null', fresh);
    sink.push('{}');
    await sink.finish();
    const full = await openSink('/dev/full', fresh);
    full.push('{}');
    await assert.rejects(full.finish(), /\/dev\/full: no space left on device/);
  });

  test('a table is written whole or not at all', async () => {
    const path = join(temporaryFolder('output'), 'scores.ndjson');
    const failed = openTableSink(path);
    failed.push('{"a":1}');
    await failed.save();
    assert.ok(!existsSync(path) && !existsSync(`${path}.partial`));
    const sink = openTableSink(path);
    sink.push('{"a":1}');
    await sink.finish();
    assert.equal(read(path), '{"a":1}\n');
  });
});
