// SPDX-License-Identifier: Apache-2.0
// Case folders: test/cases/<verb>/<case>/ with
//   cmd         lines of bash, run in a copy of the folder; FIXTURES is the path of fixtures/
//   in.ndjson   standard input (none: empty)
//   out.ndjson  standard output, to the byte (none: empty)
//   err         standard error, to the byte (none: empty)
//   code        exit status (none: 0)
// In what comes out the path of this repository is written {root}.
// A file that cmd writes is compared when the folder has it as <name>.expected.
import { cpSync, existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { root, runShell, temporaryFolder } from './run-cli.ts';

const casesFolder = join(root, 'test/cases');

/** "verb/case" of every folder with a cmd. */
export function listCases(): string[] {
  if (!existsSync(casesFolder)) return [];
  return readdirSync(casesFolder)
    .flatMap((verb) => readdirSync(join(casesFolder, verb)).map((name) => `${verb}/${name}`))
    .filter((name) => existsSync(join(casesFolder, name, 'cmd')))
    .sort();
}

/** What a case gives and what it should give: file name -> content. */
export interface CaseOutcome {
  actual: Record<string, string>;
  expected: Record<string, string>;
}

export async function runCase(name: string): Promise<CaseOutcome> {
  const folder = join(casesFolder, name);
  const copy = join(temporaryFolder('case'), 'case');
  cpSync(folder, copy, { recursive: true });
  for (const file of ['cmd', 'out.ndjson', 'err', 'code']) rmSync(join(copy, file), { force: true });
  const input = readIfThere(join(folder, 'in.ndjson')) ?? '';
  const env = { FIXTURES: join(root, 'fixtures') };
  const result = await runShell(readFileSync(join(folder, 'cmd'), 'utf8'), { input, cwd: copy, env });
  const text = (file: string, none = '') => readIfThere(join(folder, file))?.toString() ?? none;
  const actual: Record<string, string> = { code: `${result.code}\n`, err: result.stderr, 'out.ndjson': result.stdout };
  const expected: Record<string, string> = {
    code: text('code', '0\n'),
    err: text('err'),
    'out.ndjson': text('out.ndjson'),
  };
  for (const file of readdirSync(folder).filter((file) => file.endsWith('.expected'))) {
    expected[file] = text(file);
    actual[file] = readIfThere(join(copy, file.slice(0, -'.expected'.length)))?.toString() ?? '(not written)';
  }
  for (const [file, content] of Object.entries(actual)) actual[file] = content.replaceAll(root, '{root}/');
  return { actual, expected };
}

/** Writes what the case gives into its folder: look at the difference before keeping it. */
export function updateCase(name: string, { actual }: CaseOutcome): void {
  const none: Record<string, string> = { code: '0\n', err: '', 'out.ndjson': '' };
  for (const [file, content] of Object.entries(actual)) {
    const path = join(casesFolder, name, file);
    if (content === none[file]) rmSync(path, { force: true });
    else writeFileSync(path, content);
  }
}

function readIfThere(path: string): Buffer | undefined {
  return existsSync(path) ? readFileSync(path) : undefined;
}
