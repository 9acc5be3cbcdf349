// SPDX-License-Identifier: Apache-2.0
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BrokenPipeError, exitCodeOf, messageOf, StoppedError } from '../../src/cli/exit.ts';
import { RecordError, RunError, UsageError } from '../../src/records/error.ts';

const at = { source: 'in', line: 3 };
const errors: [error: unknown, code: number, message: string | undefined][] = [
  [new UsageError('--x: expected y'), 2, '--x: expected y'],
  [new RecordError(at, 'id', 'a string', 'number 3'), 2, 'in:3: id: expected a string, got number 3'],
  [new RunError('engine', 'out of memory'), 1, 'out of memory'],
  [new StoppedError('SIGTERM', 'stopped by SIGTERM'), 75, 'stopped by SIGTERM'],
  [new StoppedError('SIGUSR1', 'stopped by SIGUSR1'), 75, 'stopped by SIGUSR1'],
  [new StoppedError('SIGINT', 'stopped by SIGINT'), 130, 'stopped by SIGINT'],
  [new BrokenPipeError('gone'), 141, undefined],
  [
    Object.assign(new Error('Nonexistent flag: --foo\nSee more help with --help'), { oclif: { exit: 2 } }),
    2,
    'unknown flag: --foo (see --help)',
  ],
  [Object.assign(new Error('EEXIT: 0'), { code: 'EEXIT', oclif: { exit: 0 } }), 0, undefined],
  ['a string', 1, 'a string'],
];

for (const [error, code, message] of errors)
  test(`${error instanceof Error ? error.name : typeof error} "${message}" is exit ${code}`, () => {
    assert.equal(exitCodeOf(error), code);
    assert.equal(messageOf(error), message);
  });

test("what oclif adds around a flag parser's error is taken off again", () => {
  const error = new UsageError('Parsing --limit \n\t--limit: expected an integer, got "x"\nSee more help with --help');
  assert.equal(messageOf(Object.assign(error, { oclif: { exit: 2 } })), '--limit: expected an integer, got "x"');
  assert.equal(exitCodeOf(error), 2);
});

test('a bug is one line with its place, not a stack trace', () => {
  const message = messageOf(new TypeError('x is not a function'))!;
  assert.match(message, /^internal error: TypeError: x is not a function \(at .*exit\.test\.ts/);
  assert.ok(!message.includes('\n'));
});
