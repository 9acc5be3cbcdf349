// SPDX-License-Identifier: Apache-2.0
// Command lines that stand in a page without what they print: all of a page's code, and the examples of --help. Each runs on small files of
// the names it uses, a server on loopback in the place of every API, or is named here with the reason.
// Covers examples/shell/seva-any.sh
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { listExamples, readCommands } from '../../scripts/manifest.ts';
import { listPages, readPage } from '../support/examples.ts';
import type { JudgeServer } from '../support/judge-server.ts';
import { withoutEngine } from '../support/native.ts';
import { ensureBuilt, root } from '../support/run-cli.ts';
import { runAmongStandIns, startStandInServer } from '../support/stand-ins.ts';

ensureBuilt();

const HOURS = 'minutes to hours: its figures stand beside it';
const NO_COMMAND = 'no command: ';
/** Blocks of code that are not run, by how they begin. */
const NOT_RUN: Record<string, string> = {
  'for seed in 0 1 2; do SEED=$seed OUT=/tmp/seed-$seed': HOURS,
  'for seed in 0 1 2; do make -f examples/make/choices.mk': HOURS,
  'for seed in 0 1 2; do make -f examples/make/packed.mk': HOURS,
  'cd scripts/demo': 'Python with torch, and 40 minutes: makes the bundled model',
  'until vpref annotate ...': 'a form, with "..." for flags',
  "jq -c 'select(.error) | del(.error)' annotated.ndjson": 'a form, with "..." for flags',
  'vpref train pairs.ndjson --model llava -o runs/a |': 'Python and an account: scripts/checks has what was run',
  'vpref annotate --judge gemini:gemini-2.5-flash --batch submit':
    'batches of a provider: test/stages/annotate runs them against a server',
  'make -f examples/make/papers.mk demo': 'minutes, and Slurm: papers.test.ts and test/cluster run them on stand-ins',
  'import json, sys': `${NO_COMMAND}Python`,
  'stdin, FILE': `${NO_COMMAND}a picture`,
  'ImageLayout layout(': `${NO_COMMAND}C++`,
  '---': `${NO_COMMAND}the head of a guide`,
  '{"': `${NO_COMMAND}JSON`,
};
/** Lines inside blocks that run. */
const LINES_NOT_RUN: Record<string, string> = {
  'git lfs install && git clone https://': 'downloads a model',
  'npm install -g ./vpref-': 'installs: test/package.test.ts does it with the packed files',
  'npm pack && scripts/pack-engine.sh': 'builds an engine',
};
/** Examples of --help that are not run. */
const EXAMPLES_NOT_RUN: Record<string, string> = {
  "vpref annotate --judge 'exec:python3 judge.py'": 'Python: test/stages/annotate runs such judges in JavaScript',
};

const reasonOf = (table: Record<string, string>, text: string) =>
  Object.keys(table).find((start) => text.trimStart().startsWith(start));

interface Block {
  page: string;
  text: string;
}

/** Every fenced block of a page that is no "$" example: those are in printed.test.ts and guide.test.ts. */
function readBlocks(page: string): Block[] {
  const blocks = [...readPage(page).matchAll(/^```\w*\n([\s\S]*?)^```/gm)].map(([, text]) => ({ page, text: text! }));
  return blocks.filter(({ text }) => !text.startsWith('$ '));
}

/** Without comments and the lines that are not run. */
function runnableLines(text: string): string {
  const lines = text.replace(/ +#(?!SBATCH).*$/gm, '').split('\n');
  return lines.filter((line) => reasonOf(LINES_NOT_RUN, line) === undefined).join('\n');
}

const blocks = listPages().flatMap(readBlocks);
const shown = blocks.filter(({ text }) => reasonOf(NOT_RUN, text) === undefined);
const examples = readCommands()
  .flatMap(listExamples)
  .map(({ command }) => command);

describe('what a page shows without its output', { concurrency: 2 }, () => {
  let server: JudgeServer;
  before(async () => {
    server = await startStandInServer();
  });
  after(() => server.close());

  async function runs(lines: string): Promise<void> {
    const { code, stdout, stderr } = await runAmongStandIns(lines, server);
    assert.equal(code, 0, `${stderr}\n${stdout}`);
  }

  for (const { page, text } of shown)
    test(`${page}: ${text.slice(0, 80).replaceAll('\n', ' ')}`, { skip: withoutEngine }, () =>
      runs(runnableLines(text)),
    );
  for (const command of examples.filter((text) => reasonOf(EXAMPLES_NOT_RUN, text) === undefined))
    test(`--help: ${command}`, { skip: withoutEngine }, () => runs(command));
});

test('every line that is named as not run is there', () => {
  const lines = blocks.flatMap(({ text }) => text.split('\n'));
  for (const [table, texts] of [
    [NOT_RUN, blocks.map(({ text }) => text)],
    [LINES_NOT_RUN, lines],
    [EXAMPLES_NOT_RUN, examples],
  ] as const)
    for (const start of Object.keys(table))
      assert.ok(
        texts.some((text) => text.trimStart().startsWith(start)),
        start,
      );
});

/** Files of other projects that pages name as sources. */
const OTHERS = /^(scripts\/v1_5|examples\/(train|train_lora|scripts))\//;

test('scripts and graphs that pages name are there', () => {
  const named = listPages().flatMap((page) =>
    [...readPage(page).matchAll(/\b(?:examples|scripts|fixtures|guides)\/[\w./-]*\w\.\w+/g)].map(([path]) => ({
      page,
      path,
    })),
  );
  assert.ok(named.length > 60);
  const missing = named.filter(
    ({ page, path }) => !OTHERS.test(path) && ![root, join(root, page, '..')].some((at) => existsSync(join(at, path))),
  );
  assert.deepEqual(missing, []);
});
