// SPDX-License-Identifier: Apache-2.0
// The "$" examples of a page: how they are read, run, and held against what the page prints.
// They run from top to bottom in a folder of their own that holds fixtures/, examples/ and guides/.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { before, describe, test } from 'node:test';
import { unroff } from '../../scripts/roff.ts';
import { withoutEngine } from './native.ts';
import { type CliResult, ensureBuilt, root, runShell, temporaryFolder } from './run-cli.ts';

export interface Step {
  command: string;
  output: string[];
}

const FOLDERS = ['bench', 'examples', 'families', 'fixtures', 'guides', 'man', 'native', 'src'];

/** All Markdown, and the manual pages that are written by hand. */
export function listPages(): string[] {
  const top = readdirSync(root).map(String);
  const below = FOLDERS.flatMap((folder) =>
    readdirSync(join(root, folder), { recursive: true }).map((name) => `${folder}/${name}`),
  );
  return [...top, ...below].filter((path) => /\.(md|[57])$/.test(path)).sort();
}

/** The text of a page; code blocks of roff (.nf to .fi) become fenced ones. */
export function readPage(path: string): string {
  const text = readFileSync(join(root, path), 'utf8');
  if (path.endsWith('.md')) return text;
  return text.replace(
    /^\.nf\n([\s\S]*?)^\.fi$/gm,
    (_, block) => `\`\`\`\n${block.split('\n').map(unroff).join('\n')}\`\`\``,
  );
}

/** The steps of all code blocks that begin with "$ ". */
export function readSteps(text: string): Step[] {
  return [...text.matchAll(/^```\w*\n(\$ [\s\S]*?)^```/gm)].flatMap(([, block]) => blockSteps(block!));
}

/** "$ COMMAND", its continued lines, then what it prints. */
export function blockSteps(block: string): Step[] {
  const steps: Step[] = [];
  let isCommand = false;
  for (const line of block.trimEnd().split('\n')) {
    const last = steps.at(-1);
    if (line.startsWith('$ ')) {
      steps.push({ command: line.slice(2), output: [] });
      isCommand = isContinued(line);
    } else if (isCommand && last !== undefined) {
      last.command += `\n${line}`;
      isCommand = isContinued(line) || (last.command.startsWith('for ') && !/^ *done$/.test(line));
    } else last?.output.push(line);
  }
  return steps;
}

function isContinued(line: string): boolean {
  return line.endsWith('\\') || /^\$ for .* do$/.test(line);
}

/** What a step prints, both streams together, without empty lines. */
export async function runStep({ command }: Step, cwd: string): Promise<CliResult & { lines: string[] }> {
  const env = { XDG_CACHE_HOME: join(cwd, '.cache') };
  const result = await runShell(`exec 2>&1; ${command}`, { cwd, env });
  return { ...result, lines: result.stdout.split('\n').filter((line) => line !== '') };
}

/** A folder to type the steps into. */
export function stepFolder(): string {
  ensureBuilt();
  const folder = temporaryFolder('page');
  for (const name of ['fixtures', 'examples', 'guides']) symlinkSync(join(root, name), join(folder, name));
  return folder;
}

export function usesModel({ command }: Step): boolean {
  return /--model|local:/.test(command);
}

/** Figures of a model depend a little on the kind of CPU; how jq writes the last digits of others, on its version. */
export const MODEL = 0.02;
export const EXACT = 1e-12;

/** Whether what came is what the page prints, decimals to a tolerance. A "..." at the end of a line stands for the rest. */
export function matches(expected: string, actual: string, tolerance: number): boolean {
  const isOpen = expected.endsWith('...');
  const head = isOpen ? expected.slice(0, -3) : expected;
  const DECIMAL = /-?\d+(?:\.\d+(?:e[-+]\d+)?|e[-+]\d+)/g;
  const values = head.match(DECIMAL) ?? [];
  let rest = actual;
  for (const [index, text] of head.split(DECIMAL).entries()) {
    if (!rest.startsWith(text)) return false;
    rest = rest.slice(text.length);
    if (index === values.length) break;
    const came = /^-?\d+(?:\.\d+)?(?:e[-+]\d+)?/.exec(rest)?.[0];
    if (came === undefined || !isNear(Number(values[index]), Number(came), tolerance)) return false;
    rest = rest.slice(came.length);
  }
  return isOpen || rest === '';
}

function isNear(expected: number, actual: number, tolerance: number): boolean {
  return Math.abs(expected - actual) <= tolerance * Math.max(1, Math.abs(expected));
}

/** One test for each step of a page, and one that no "$" line is left unread. */
export function testPage(path: string): void {
  const text = readPage(path);
  const steps = readSteps(text);
  const first = steps.findIndex(usesModel);
  describe(path, { concurrency: false }, () => {
    let folder: string;
    before(() => {
      folder = stepFolder();
    });

    test('every "$" line is a step', () =>
      assert.equal(steps.length, text.split('\n').filter((line) => /^\s*\$ /.test(line)).length));

    for (const [index, step] of steps.entries()) {
      const ofModel = first >= 0 && index >= first;
      test(step.command.split('\n')[0]!.slice(0, 90), { skip: (ofModel && withoutEngine) || withoutJq }, async () => {
        const { lines, code, stdout } = await runStep(step, folder);
        assert.equal(code, 0, stdout);
        assert.equal(lines.length, step.output.length, stdout);
        for (const [i, line] of lines.entries())
          assert.ok(matches(step.output[i]!, line, ofModel ? MODEL : EXACT), `${line}\nexpected:\n${step.output[i]}`);
      });
    }
  });
}

const withoutJq = whyNoJq();

function whyNoJq(): string | false {
  try {
    execFileSync('jq', ['--version']);
    return false;
  } catch {
    return 'jq is not installed';
  }
}
