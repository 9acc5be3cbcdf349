// SPDX-License-Identifier: Apache-2.0
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { runNames } from '../../../src/stages/report/names.ts';

const names = (...files: string[]) => runNames(files.map((file) => ({ file })));

test('the name of a run is that of its files without the suffix for their kind', () => {
  assert.deepEqual(
    names('out/seva.metrics.ndjson', 'out/seva.summary.ndjson', 'out/seva.pope.scores.ndjson', 'pairs.jsonl', '-'),
    [...['seva', 'seva', 'seva.pope', 'pairs', 'stdin']],
  );
});

test('files that are named by their kind alone belong to their folder', () => {
  assert.deepEqual(names('/r/a/metrics.ndjson', '/r/a/summary.ndjson', '/r/b/metrics.ndjson', '/r/b/samples.ndjson'), [
    'a',
    'a',
    'b',
    'b',
  ]);
});

test('two files of a kind with one name are distinguished by their folders, like the other files of these folders', () => {
  assert.deepEqual(names('/r/x/a.metrics.ndjson', '/r/x/a.summary.ndjson', '/r/y/a.metrics.ndjson'), [
    'x/a',
    'x/a',
    'y/a',
  ]);
  assert.deepEqual(names('/r/1/x/metrics.ndjson', '/r/2/x/metrics.ndjson'), ['1/x', '2/x']);
  assert.deepEqual(names('/a.ndjson', '/r/a.ndjson'), ['a', 'r/a']);
});

test('NAME=FILE sets the name; a repeated file is an error', () => {
  const files = [
    { file: '/r/x/metrics.ndjson', name: 'base' },
    { file: '/r/y/pope.ndjson', name: 'base' },
  ];
  assert.deepEqual(runNames(files), ['base', 'base']);
  assert.throws(() => names('/r/a.ndjson', '/r/../r/a.ndjson'), /a\.ndjson: expected each file once, got it twice/);
});
