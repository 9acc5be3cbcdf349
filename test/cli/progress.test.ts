// SPDX-License-Identifier: Apache-2.0
import assert from 'node:assert/strict';
import { PassThrough } from 'node:stream';
import { test } from 'node:test';
import {
  type Figures,
  newCounts,
  progressState,
  Reporter,
  type RunCounts,
  summaryLine,
  terminalLine,
} from '../../src/cli/progress.ts';

const state = (counts: Partial<RunCounts>, seconds: number, figures?: Figures) =>
  progressState({ ...newCounts(), ...counts }, seconds, figures);

test('progress has share, rows, time left, failures, rate, the figures of the command, drops', () => {
  const counts = { finished: 300, skipped: 1, dropped: new Map([['tie', 12]]), rowsTotal: () => 1200 };
  assert.deepEqual(state(counts, 30, { unit: 'pairs', parts: (seconds) => [`${seconds * 2} tokens/s`] }), {
    share: 0.25,
    parts: ['300 of 1,200 pairs', '1:30 left', '1 failed', '10 pairs/s', '60 tokens/s', '12 dropped'],
  });
});

test('rows done before count for the share, and neither for the rate nor for the time left', () => {
  const counts = { finished: 110, done: 100, rowsTotal: () => 200 };
  assert.deepEqual(state(counts, 5), { share: 0.55, parts: ['110 of 200 rows', '45 s left', '2.0 rows/s'] });
  assert.deepEqual(state({ finished: 110, done: 100 }, 4).parts, ['110 rows', '2.5 rows/s']);
  const steps = { unit: 'steps', total: () => 20, finished: () => 15, doneBefore: () => 10 };
  assert.deepEqual(state({}, 5, steps).parts, ['15 of 20 steps', '5 s left', '1.0 steps/s']);
});

test('an import goes by bytes', () => {
  assert.deepEqual(state({ finished: 100, bytesRead: 250, bytesTotal: 1000 }, 10), {
    share: 0.25,
    parts: ['100 rows', '30 s left', '10 rows/s'],
  });
});

test('the terminal line shows the most important parts that fit the columns', () => {
  const all = state({ finished: 300, skipped: 1, rowsTotal: () => 1200 }, 30, { parts: () => ['60 tokens/s'] });
  const line = (columns: number, colours = false) => terminalLine('vpref sample', all, { columns, colours });
  assert.equal(
    line(200),
    'vpref sample  25 % [======>                 ] 300 of 1,200 rows, 1:30 left, 1 failed, 10 rows/s, 60 tokens/s',
  );
  assert.equal(line(80), 'vpref sample  25 % [==>     ] 300 of 1,200 rows, 1:30 left, 1 failed, 10 rows/s');
  assert.equal(line(40), 'vpref sample  25 % 300 of 1,200 rows');
  assert.equal(line(12), 'vpref sampl');
  for (let columns = 1; columns < 220; columns++) assert.ok(line(columns).length < Math.max(2, columns), `${columns}`);
  // biome-ignore lint/suspicious/noControlCharactersInRegex: colours are control characters
  const bare = line(120, true).replace(/\x1b\[\d*m/g, '');
  assert.equal(bare, line(120));
  assert.notEqual(bare, line(120, true));
});

test('the summary lists reasons, most frequent first', () => {
  const counts = newCounts();
  Object.assign(counts, { read: 1_234_567, written: 1_000_000, kept: 2, passed: 3, done: 4 });
  counts.dropped.set('tie', 5).set('equal answers', 7).set('a', 5);
  assert.equal(
    summaryLine(counts),
    '1,234,567 in, 1,000,000 out, 17 dropped (equal answers 7, a 5, tie 5), 2 failed and kept with their error, 3 failed in an earlier stage, 4 done before',
  );
});

function reporter(options: { quiet?: boolean; isTTY?: boolean; progress?: 'auto' | 'always' }) {
  const stream = Object.assign(new PassThrough(), { isTTY: options.isTTY ?? false, columns: 100 });
  const made = new Reporter('vpref pair', {
    progress: options.progress ?? 'auto',
    quiet: options.quiet ?? false,
    stream: stream as unknown as NodeJS.WriteStream,
  });
  return { made, said: () => String(stream.read() ?? '') };
}

test('plain success prints nothing; --quiet silences notes and summary, never warnings', () => {
  const loud = reporter({});
  loud.made.start(newCounts());
  loud.made.finish({ ...newCounts(), read: 2, written: 2 });
  assert.equal(loud.said(), '');
  loud.made.finish({ ...newCounts(), read: 2, written: 1 });
  assert.equal(loud.said(), 'vpref pair: 2 in, 1 out\n');
  const quiet = reporter({ quiet: true, isTTY: true });
  quiet.made.start(newCounts());
  quiet.made.note('a note');
  quiet.made.warn('a warning');
  quiet.made.finish({ ...newCounts(), read: 2, written: 1 });
  assert.equal(quiet.said(), 'vpref pair: a warning\n');
});

test('plain lines where nothing can be rewritten: not a terminal, and TERM=dumb', async (t) => {
  t.mock.timers.enable({ apis: ['setInterval'] });
  const line = 'vpref pair: 50 %, 1 of 2 rows';
  for (const isTTY of [false, true]) {
    const before = process.env.TERM;
    if (isTTY) process.env.TERM = 'dumb';
    const { made, said } = reporter({ isTTY, progress: 'always' });
    process.env.TERM = before;
    made.start({ ...newCounts(), finished: 1, rowsTotal: () => 2 });
    t.mock.timers.tick(10_000);
    const told = said();
    assert.ok(told.startsWith(line) && told.endsWith('\n'), told);
    assert.ok(!told.includes('\x1b') && !told.includes('\r'));
    made.finish(newCounts());
  }
});

test('colours only on a terminal that rewrites, and not under NO_COLOR', (t) => {
  t.mock.timers.enable({ apis: ['setInterval'] });
  const before = { TERM: process.env.TERM, NO_COLOR: process.env.NO_COLOR };
  const drawn = (noColour: string) => {
    Object.assign(process.env, { TERM: 'xterm', NO_COLOR: noColour });
    const { made, said } = reporter({ isTTY: true });
    Object.assign(process.env, { TERM: before.TERM ?? '', NO_COLOR: before.NO_COLOR ?? '' });
    made.start({ ...newCounts(), finished: 1, rowsTotal: () => 2 });
    t.mock.timers.tick(200);
    const told = said();
    made.finish(newCounts());
    return told;
  };
  assert.ok(drawn('').includes('\x1b[32m'));
  assert.ok(!drawn('1').includes('\x1b[3'));
});
