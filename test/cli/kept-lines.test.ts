// SPDX-License-Identifier: Apache-2.0
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { KeptLines } from '../../src/cli/kept-lines.ts';
import { temporaryFolder } from '../support/run-cli.ts';

function keptLines(text: string): KeptLines {
  const path = join(temporaryFolder('kept'), 'f');
  writeFileSync(path, text);
  return new KeptLines(path);
}

test('whole lines are there, a torn end and the end of an array are not', () => {
  for (const [text, bytes] of [
    ['', 0],
    ['{"a"', 0],
    ['a\nb\n', 4],
    ['a\nb', 2],
    ['[\n1,\n2\n]\n', 5],
    ['[\n]\n', 0],
    ['[\n1,\n2\n]', 7],
  ] as const) {
    const kept = keptLines(text);
    assert.equal(kept.bytes, bytes, JSON.stringify(text));
    kept.close();
  }
});

test('lines longer and shorter than a chunk are compared to the byte', () => {
  const lines = Array.from({ length: 300 }, (_, index) => 'x\u00e9'.repeat(index === 7 ? 400_000 : index * 5));
  const kept = keptLines(`${lines.join('\n')}\n`);
  for (const line of lines) assert.equal(kept.has(line), true);
  assert.equal(kept.has('more'), false);
  kept.checkAll();
  kept.close();
});

test('a different or an additional line is an error with its place', () => {
  const kept = keptLines('a\nb\nc\n');
  assert.equal(kept.has('a'), true);
  assert.throws(() => kept.checkAll(), /f:2: expected no more rows .*, got one/);
  assert.throws(() => kept.has('other'), { name: 'UsageError', message: /f:2: expected the row .*, got another/ });
  kept.close();
});
