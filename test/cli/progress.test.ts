// SPDX-License-Identifier: Apache-2.0
import assert from 'node:assert/strict';
import { PassThrough } from 'node:stream';
import { test } from 'node:test';
import { newCounts, progressLine, Reporter, summaryLine } from '../../src/cli/progress.ts';

test('the progress line has rows, rate, share, time left, drops and failures', () => {
  const counts = {
    ...newCounts(),
    read: 1200,
    bytesRead: 250,
    bytesTotal: 1000,
    skipped: 1,
    dropped: new Map([['tie', 12]]),
  };
  assert.equal(progressLine(counts, 30), '1,200 rows, 40/s, 25 %, 1:30 left, 12 dropped, 1 failed');
});

test('without a known size there is no share and no time left; rows done before do not count for the rate', () => {
  assert.equal(progressLine({ ...newCounts(), read: 110, done: 100 }, 4), '110 rows, 2.5/s');
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

function reporter(options: { quiet?: boolean; isTTY?: boolean }) {
  const stream = Object.assign(new PassThrough(), { isTTY: options.isTTY ?? false, columns: 60 });
  const made = new Reporter('vpref pair', {
    progress: 'auto',
    quiet: options.quiet ?? false,
    stream: stream as unknown as NodeJS.WriteStream,
  });
  return { made, said: () => String(stream.read() ?? '') };
}

test('plain success says nothing; --quiet silences notes and summary, never warnings', () => {
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
