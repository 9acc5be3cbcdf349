// SPDX-License-Identifier: Apache-2.0
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { test } from 'node:test';
import { root } from '../support/run-cli.ts';

/** What bash offers for the last word. */
function complete(...words: string[]): string[] {
  const script =
    'source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _vpref; printf "%s\\n" "${COMPREPLY[@]}"';
  const { stdout, stderr } = spawnSync('bash', ['-c', script, 'bash', join(root, 'completions/vpref.bash'), ...words], {
    encoding: 'utf8',
    cwd: join(root, 'fixtures'),
  });
  assert.equal(stderr, '');
  return stdout.trim().split('\n');
}

test('bash completes verbs, flags, their values, formats and files', () => {
  assert.deepEqual(complete('vpref', 'prec'), ['precompute-ref']);
  assert.deepEqual(complete('vpref', 'pair', '--res'), ['--resume']);
  assert.deepEqual(complete('vpref', 'pair', '--on-error', 's'), ['skip']);
  assert.deepEqual(complete('vpref', 'export', 'tr'), ['trl']);
  assert.deepEqual(complete('vpref', 'pair', 'READ'), ['README.md']);
  assert.deepEqual(complete('vpref', 'pair', '-o', 'READ'), ['README.md']);
});

for (const [shell, file] of [
  ['zsh', '_vpref'],
  ['fish', 'vpref.fish'],
] as const)
  test(`${shell} can read its file`, (t) => {
    const { error, status, stderr } = spawnSync(shell, ['-n', join(root, 'completions', file)], { encoding: 'utf8' });
    if (error !== undefined) return t.skip(`${shell} is not installed`);
    assert.equal(status, 0, stderr);
  });
