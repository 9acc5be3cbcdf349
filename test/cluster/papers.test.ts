// SPDX-License-Identifier: Apache-2.0
// The papers' matrix on a real Slurm: an array a stage, a file a task. What vpref does is noted only.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { after, before, test } from 'node:test';
import { promisify } from 'node:util';
import { root, temporaryFolder } from '../support/run-cli.ts';
import { lacksSlurm, type Slurm, startSlurm } from '../support/slurm.ts';

const skip = lacksSlurm() ?? false;
const folder = temporaryFolder('matrix');
const path = (...names: string[]) => join(folder, ...names);

// Training of one cell fails the first time.
const stub = `#!/bin/bash
echo "$*" >>${path('calls')}
case "$1 $*" in
"train "*beta-0.5*) [ -e ${path('failed')} ] || { touch ${path('failed')}; exit 1; } ;;
"eval eval published"*) echo table >"\${@: -1}"; exit ;;
"eval "*) echo '{"benchmark":"'$2'","split":"all","n":3,"score":50}'; exit ;;
esac
while [ $# -gt 0 ]; do
  case $1 in -o) out=$2 ;; --summary) echo '{"seconds":90}' >"$2" ;; esac
  shift
done
case $out in *.adapter) mkdir -p "$out"; touch "$out/adapter_model.safetensors" ;; *) touch "$out" ;; esac
`;

let slurm: Slurm;
before(async () => {
  if (skip) return;
  slurm = await startSlurm();
  mkdirSync(path('bin'));
  writeFileSync(path('bin/vpref'), stub, { mode: 0o755 });
  symlinkSync(process.execPath, path('bin/node'));
  for (const name of ['mix.json', 'pope.json']) writeFileSync(path(name), '');
  slurm.env.PATH = `${path('bin')}${delimiter}${slurm.env.PATH}`;
});
after(async () => slurm?.stop());

async function start(): Promise<{ said: string; jobs: string[] }> {
  const settings = { GPU: '', CPUS: '1', EXPERIMENTS: 'beta judge', JUDGES: 'self', BETAS: '0.3 0.5' };
  const questions = { QUESTIONS_pope: path('pope.json'), IMAGES_pope: 'images' };
  const { stdout } = await promisify(execFile)(
    'bash',
    [join(root, 'examples/slurm/papers.sh'), 'm', path('mix.json'), 'data', path('out')],
    { env: { ...slurm.env, ...settings, ...questions }, cwd: folder },
  );
  return { said: stdout, jobs: [...stdout.matchAll(/job (\d+)/g)].map(([, job]) => job!) };
}
const calls = (verb: string) =>
  readFileSync(path('calls'), 'utf8')
    .split('\n')
    .filter((call) => call.startsWith(`${verb} `));

test('stages follow each other; after a failure the missing cell alone is made', { skip }, async () => {
  const first = await start();
  assert.match(
    first.said,
    /^prompts: job \d+, 2 tasks\nanswers: job \d+, 2 tasks\ngraded: job \d+, 2 tasks\npairs: job \d+, 3 tasks\ncells: job \d+, 6 tasks\ntable: job \d+/,
  );
  await slurm.waitFor(first.jobs, 300);
  assert.ok(existsSync(path('failed')), 'it came to training');
  assert.ok(!existsSync(path('out/table.txt')), 'a cell is missing');
  const second = await start();
  assert.match(
    second.said,
    /^prompts: done before\nanswers: done before\ngraded: done before\npairs: done before\ncells: job \d+, 1 tasks\ntable: job \d+/,
  );
  await slurm.waitFor(second.jobs, 300);
  assert.ok(existsSync(path('out/table.txt')));
  assert.ok(existsSync(path('out/report.html')));
  assert.equal(calls('train').length, 5 + 1, 'five cells, one of them twice');
  assert.equal(calls('annotate').length, 2);
});
