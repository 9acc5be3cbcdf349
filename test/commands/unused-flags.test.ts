// SPDX-License-Identifier: Apache-2.0
// A flag that a judge, a server or a model does not use is refused by name, or noted.
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { before, test } from 'node:test';
import { withoutEngine } from '../support/native.ts';
import { ensureBuilt, root, runCli } from '../support/run-cli.ts';

before(ensureBuilt);

const REFUSED: [command: string[], message: string][] = [
  ...['--base-url=http://x', '--key-env=KEY', '--reasoning-tokens=9'].map((flag): [string[], string] => [
    ['annotate', '--judge', 'exec:cat', '--guide', 'yes-no', flag],
    `${flag.split('=')[0]}: expected a judge at a server, got exec:cat`,
  ]),
  [
    ['annotate', '--judge', 'exec:cat', '--guide', 'yes-no', '--batch-dir', 'b'],
    '--batch-dir: expected --batch submit or --batch collect with it',
  ],
  ...['--adapter=x', '--device=cpu', '--dtype=bf16'].map((flag): [string[], string] => [
    ['doctor', flag],
    `${flag.split('=')[0]}: expected --model with it, got none`,
  ]),
];

for (const [argv, message] of REFUSED)
  test(`${argv.at(0)} ${argv.at(-1)} is refused where it is not used`, async () => {
    const { code, stderr } = await runCli(argv, { input: '' });
    assert.deepEqual({ code, stderr }, { code: 2, stderr: `vpref ${argv[0]}: ${message}\n` });
  });

test('doctor --image with a text-only model is refused', { skip: withoutEngine }, async () => {
  const image = join(root, 'fixtures/images/cmyk.jpg');
  const { code, stderr } = await runCli(['doctor', '--model', join(root, 'fixtures/tiny-text'), '--image', image]);
  assert.deepEqual({ code, stderr }, { code: 2, stderr: 'vpref doctor: --image: llama is a text-only family\n' });
});

test('a preset, --faithful and --threads that a server does not get are noted', async () => {
  const argv = ['sample', '--endpoint', 'http://127.0.0.1:9', '--model', 'm', '--preset', 'seva-7b', '--faithful'];
  const { code, stderr } = await runCli([...argv, '--threads', '3'], { input: '' });
  assert.equal(code, 0, stderr);
  assert.match(stderr, /--faithful/);
  assert.match(stderr, /--threads: the server computes the responses/);
  assert.match(stderr, /--preset seva-7b: --.*template.* has no effect, the server decides this/);
});

test('import --faithful without --turns has no quirk, also with --limit', async () => {
  const { code, stderr } = await runCli(['import', 'records', '--faithful', '--limit', '1'], {
    input: '{"id":"a","prompt":"Q"}\n',
  });
  assert.equal(code, 0, stderr);
  assert.match(stderr, /--faithful/);
});
