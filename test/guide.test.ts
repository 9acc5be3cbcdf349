// SPDX-License-Identifier: Apache-2.0
// GUIDE.md: its first part is typed in from top to bottom, and prints what the guide says.
// Numbers may differ by 2 %: they depend a little on the kind of CPU. A "..." stands for what is left out.
import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { before, describe, test } from 'node:test';
import { withoutEngine } from './support/native.ts';
import { ensureBuilt, root, runShell, temporaryFolder } from './support/run-cli.ts';

interface Step {
  command: string;
  output: string[];
}

/** The steps of all ```console blocks: "$ COMMAND", its continued lines (indented), then what it prints. */
function readSteps(text: string): Step[] {
  const steps: Step[] = [];
  for (const [, block] of text.matchAll(/^```console\n([\s\S]*?)^```/gm)) {
    let isCommand = false;
    for (const line of block!.trimEnd().split('\n')) {
      const last = steps.at(-1);
      if (line.startsWith('$ ')) {
        steps.push({ command: line.slice(2), output: [] });
        isCommand = isContinued(line);
      } else if (isCommand && last !== undefined) {
        last.command += `\n${line}`;
        isCommand = isContinued(line) || (last.command.startsWith('for ') && !/^ *done$/.test(line));
      } else last?.output.push(line);
    }
  }
  return steps;
}

function isContinued(line: string): boolean {
  return line.endsWith('\\') || /^\$ for .* do$/.test(line);
}

/** Whether what came is what the guide prints. */
function matches(expected: string, actual: string): boolean {
  const NUMBER = /-?\d+(?:\.\d+)?(?:e[-+]\d+)?/g;
  const shape = (text: string) => text.replace(NUMBER, '#');
  if (expected.endsWith('...')) {
    const head = shape(expected.slice(0, -3));
    return shape(actual).startsWith(head);
  }
  const numbers = (text: string) => (text.match(NUMBER) ?? []).map(Number);
  const came = numbers(actual);
  return (
    shape(expected) === shape(actual) &&
    numbers(expected).every((value, i) => Math.abs(value - came[i]!) <= Math.max(0.02 * Math.abs(value), 0.02))
  );
}

const steps = readSteps(readFileSync(join(root, 'GUIDE.md'), 'utf8'));

describe('the guide', { concurrency: false }, () => {
  let folder: string;
  before(() => {
    ensureBuilt();
    folder = temporaryFolder('guide');
    for (const name of ['fixtures', 'examples']) symlinkSync(join(root, name), join(folder, name));
    mkdirSync(join(folder, 'bin'));
  });

  test('has its steps', () => assert.ok(steps.length >= 20, `${steps.length} steps`));

  for (const { command, output } of steps)
    test(command.split('\n')[0]!.slice(0, 90), async (t) => {
      if (withoutEngine) return t.skip(withoutEngine);
      const { stdout, code } = await runShell(`exec 2>&1; ${command}`, { cwd: folder });
      assert.equal(code, 0, stdout);
      const lines = stdout
        .trimEnd()
        .split('\n')
        .filter((line) => line !== '');
      assert.equal(lines.length, output.length, stdout);
      for (const [i, line] of lines.entries()) assert.ok(matches(output[i]!, line), `${line}\nexpected:\n${output[i]}`);
    });
});

test('a line with another word, another count or a number too far off is no match', () => {
  assert.equal(matches('a: 1.00 in', 'a: 1.01 in'), true);
  assert.equal(matches('a: 1.00 in', 'a: 1.10 in'), false);
  assert.equal(matches('a: 1.00 in', 'b: 1.00 in'), false);
  assert.equal(matches('a: 1.00 in', 'a: 1.00 in, 2 out'), false);
  assert.equal(matches('a: 1.00 in ...', 'a: 1.00 in, 2 out'), false);
  assert.equal(matches('a: 1 in ...', 'a: 1 in 2 out'), true);
});
