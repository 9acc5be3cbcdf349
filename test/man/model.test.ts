// SPDX-License-Identifier: Apache-2.0
// The examples in the manuals of the model commands print what they say.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { withoutEngine } from '../support/native.ts';
import { root, runShell } from '../support/run-cli.ts';

const skip = withoutEngine || withoutJq();

function withoutJq(): string | false {
  try {
    execFileSync('jq', ['--version']);
    return false;
  } catch {
    return 'jq is not installed';
  }
}

for (const verb of ['sample', 'score', 'precompute-ref', 'doctor']) {
  const text = readFileSync(join(root, `man/prose/${verb}.md`), 'utf8');
  const examples = [...text.matchAll(/^```\n\$ (.*)\n([\s\S]*?)^```$/gm)];
  test(`${verb}: there are examples`, () => assert.ok(examples.length > 0));
  for (const [, line, output] of examples)
    test(`${verb}: ${line!.slice(-60)}`, { skip }, async () => {
      const { stdout, stderr, code } = await runShell(line!, { cwd: root });
      assert.deepEqual({ stdout, stderr, code }, { stdout: output, stderr: '', code: 0 });
    });
}
