// SPDX-License-Identifier: Apache-2.0
// The examples of man/prose/eval.md print what they say.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { root, runShell } from '../support/run-cli.ts';

const text = readFileSync(join(root, 'man/prose/eval.md'), 'utf8');
const examples = [...text.matchAll(/^```\n\$ (.*)\n([\s\S]*?)^```$/gm)].map(([, line, output]) => ({
  line: line!,
  output: output!,
}));

test('there are examples', () => assert.ok(examples.length >= 3));

for (const { line, output } of examples)
  test(line.slice(0, 60), async () => {
    const { stdout, stderr, code } = await runShell(line, { cwd: root });
    assert.deepEqual({ stdout, stderr, code }, { stdout: output, stderr: '', code: 0 });
  });
