// SPDX-License-Identifier: Apache-2.0
// Every "$" example of every page prints what stands below it. GUIDE.md, the longest, has a test file of its own.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { blockSteps, EXACT, listPages, MODEL, matches, readPage, readSteps, testPage } from '../support/examples.ts';

const pages = listPages().filter((path) => path !== 'GUIDE.md');
const manual = pages.filter((path) => /^man\/(prose\/|vpref-records|vpref-pipelines)/.test(path));

test('each manual page of a command, of records and of pipelines has an example', () => {
  assert.ok(manual.length >= 16, manual.join(' '));
  for (const page of manual) assert.ok(readSteps(readPage(page)).length > 0, page);
});

for (const page of pages) if (/^\s*\$ /m.test(readPage(page))) testPage(page);

test('a step is a command, its continued lines and what it prints', () =>
  assert.deepEqual(blockSteps('$ a | \\\n    b\nline\n$ for i in 1 2; do\n    c $i\n  done\n1\n2\n'), [
    { command: 'a | \\\n    b', output: ['line'] },
    { command: 'for i in 1 2; do\n    c $i\n  done', output: ['1', '2'] },
  ]));

test('another word, another count or a number too far off is no match', () => {
  for (const [expected, actual, tolerance, is] of [
    ['a: 1.00 in', 'a: 1.01 in', MODEL, true],
    ['a: 1.00 in', 'a: 1.10 in', MODEL, false],
    ['a: 1.00 in', 'a: 1 in', MODEL, true],
    ['a: 100 in', 'a: 101 in', MODEL, false],
    ['a: 1.00 in', 'b: 1.00 in', MODEL, false],
    ['a: 1.00 in', 'a: 1.00 in, 2 out', MODEL, false],
    ['a: 1.00 in ...', 'a: 1.00 in, 2 out', MODEL, false],
    ['a: 1 in ...', 'a: 1 in 2 out', MODEL, true],
    ['a: 1.00', 'a: 1.01', EXACT, false],
    ['a: 0.3000000000000043', 'a: 0.30000000000000426', EXACT, true],
  ] as const)
    assert.equal(matches(expected, actual, tolerance), is, `${expected} / ${actual}`);
});
