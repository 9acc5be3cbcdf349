// SPDX-License-Identifier: Apache-2.0
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { visible } from '../../src/cli/terminal.ts';
import { runCli, temporaryFolder } from '../support/run-cli.ts';

// No control character but newlines, no mark of text direction.
const plain = /^[^\p{Cc}\p{Bidi_Control}\u2028\u2029]*$/u;
const nasty = 'a\x1b[2Jb\x07\x9b31m\x7f\u202ec\u2066\rd';

test('what steers a terminal is written as it would be in a string, all else stays', () => {
  assert.equal(visible(nasty), 'a\\x1b[2Jb\\x07\\x9b31m\\x7f\\u202ec\\u2066\\x0dd');
  assert.equal(visible('Zo\u00eb \u05d0\n\t\u4e2d \u{1f600} "x"'), 'Zo\u00eb \u05d0\n\t\u4e2d \u{1f600} "x"');
});

test('messages of every kind hold no control characters of ids, paths, fields and judges', async () => {
  const cwd = temporaryFolder('terminal');
  const record = { id: nasty, prompt: 'p', responses: [{ text: 'x' }, { text: 'y' }], images: [`${nasty}.png`] };
  writeFileSync(join(cwd, 'in.ndjson'), `${JSON.stringify(record)}\n`);
  const judge = join(cwd, 'judge.sh');
  writeFileSync(judge, `printf '\\033[31mred\\n'; cat >/dev/null`);
  const commands = [
    ['augment', '--op', 'hflip', '--image-dir', 'v', 'in.ndjson'],
    ['augment', '--op', 'hflip', '--image-dir', 'v', '--on-error', 'skip', 'in.ndjson'],
    ['pair', '--rule', 'score', '--on-error', 'skip', 'in.ndjson'],
    ['annotate', '--judge', `exec:sh ${judge}`, '--no-cache', 'in.ndjson', '-o', 'out'],
    ['pair', '--rule', 'seva', `${nasty}.ndjson`],
    [nasty],
    ['export', 'trl', '--resume', 'in.ndjson', '-o', nasty],
  ];
  for (const args of commands) {
    const { stderr } = await runCli(args, { cwd });
    assert.ok(stderr.length > 0 && stderr.split('\n').every((text) => plain.test(text)), JSON.stringify(stderr));
  }
});

test('a table of scores holds none either', async () => {
  const cwd = temporaryFolder('terminal');
  const row = { id: 'a', prompt: 'p', reference: 'yes', source: 'gqa', responses: [{ text: 'yes', label: nasty }] };
  writeFileSync(join(cwd, 'in.ndjson'), `${JSON.stringify(row)}\n`);
  const { code, stdout, stderr } = await runCli(['eval', 'length', '--format', 'table', 'in.ndjson'], { cwd });
  assert.equal(code, 0, stderr);
  assert.ok(
    stdout.includes('a\\x1b[2Jb') && stdout.split('\n').every((text) => plain.test(text)),
    JSON.stringify(stdout),
  );
});
