// SPDX-License-Identifier: Apache-2.0
// The examples of --help and the pages: every flag in them exists. The scripts and graphs in examples/ make the calls that the papers need.
// typed.test.ts runs the examples themselves.
import assert from 'node:assert/strict';
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { type CommandEntry, listExamples, readCommands } from '../../scripts/manifest.ts';
import { listPages, readPage } from '../support/examples.ts';
import { ensureBuilt, root, runShell, temporaryFolder } from '../support/run-cli.ts';

ensureBuilt();
const commands = new Map(readCommands().map((command) => [command.id, command]));

/** Command lines of blocks and inside sentences: what follows "vpref VERB" up to the end of the command, backslash line ends joined. */
function commandLines(text: string): string[] {
  const block = /^```.*\n([\s\S]*?)^```/gm;
  const inline = [...text.replace(block, '').matchAll(/`((?:[^`]*\| *)?vpref [a-z][^`]*)`/g)].map(([, code]) => code!);
  const code = [...text.matchAll(block)]
    .map(([, lines]) => lines!)
    .concat(inline)
    .join('\n');
  return code.replace(/\\\n/g, ' ').split('\n');
}

/** Names of flags that a line uses and the command does not have. */
function unknownFlags(line: string): string[] {
  const unknown: string[] = [];
  for (const [, verb, rest] of line.matchAll(/\bvpref ([a-z][a-z-]*)((?:'[^']*'|"[^"]*"|[^|;&>#])*)/g)) {
    const command: CommandEntry | undefined = commands.get(verb!);
    if (verb === 'help') continue;
    if (command === undefined) {
      unknown.push(verb!);
      continue;
    }
    const words = rest!.replace(/'[^']*'|"[^"]*"/g, ' ');
    for (const [, name] of words.matchAll(/\s--([a-z][a-z-]*)/g))
      if (name !== 'help' && command.flags[name!] === undefined) unknown.push(`${verb} --${name}`);
  }
  return unknown;
}

describe('flags in examples exist', () => {
  for (const command of commands.values())
    test(command.id, () => {
      const lines = listExamples(command).map((example) => example.command);
      assert.deepEqual(lines.flatMap(unknownFlags), []);
    });
  for (const path of listPages())
    test(path, () => assert.deepEqual(commandLines(readPage(path)).flatMap(unknownFlags), []));
});

describe('the scripts in examples/', () => {
  const scripts = ['shell', 'slurm'].flatMap((folder) =>
    readdirSync(join(root, 'examples', folder))
      // chain.bash is sourced and runs no vpref itself.
      .filter((name) => name !== 'chain.bash')
      .map((name) => `examples/${folder}/${name}`),
  );
  const graphs = readdirSync(join(root, 'examples/make')).map((name) => `examples/make/${name}`);
  // rounds.sh and papers.sh leave all work to their graphs; papers-demo.mk holds settings.
  const callers = [...scripts, ...graphs].filter((name) => !/\/(rounds\.sh|papers\.sh|papers-demo\.mk)$/.test(name));
  for (const path of [...callers, 'examples/demo.sh'])
    test(`${path}: every flag in it exists`, () => {
      const text = readFileSync(join(root, path), 'utf8').replaceAll('$(VPREF)', 'vpref').replace(/\\\n/g, ' ');
      const lines = text.split('\n').filter((line) => !line.startsWith('#') && !/\$VPREF|^ *title /.test(line));
      assert.ok(lines.some((line) => /\bvpref [a-z]/.test(line)));
      assert.deepEqual(lines.flatMap(unknownFlags), []);
    });
  for (const path of scripts.filter((name) => name.endsWith('.sh')))
    test(`${path}: without arguments it prints its usage`, async () => {
      const { code, stderr } = await runShell(`bash ${join(root, path)}`, { cwd: root });
      assert.equal(code, 2);
      assert.match(stderr, /^# .*MODEL_DIR .*OUT_DIR/);
    });
});

describe("the papers' figures in examples/", () => {
  /** The calls of vpref that a script makes; the stub only records them. */
  async function calls(line: string, env: Record<string, string> = {}): Promise<string> {
    const cwd = temporaryFolder('calls');
    mkdirSync(join(cwd, 'bin'));
    writeFileSync(
      join(cwd, 'bin/vpref'),
      `#!/bin/sh\necho "$*" >>"${cwd}/calls"\n[ "$1" = import ] || cat >/dev/null\n`,
    );
    chmodSync(join(cwd, 'bin/vpref'), 0o755);
    for (const name of ['a.json', 'b.json']) writeFileSync(join(cwd, name), '');
    const { code, stderr } = await runShell(`PATH="$PWD/bin:$PATH"; ${line}`, { cwd, env });
    assert.equal(code, 0, stderr);
    return readFileSync(join(cwd, 'calls'), 'utf8');
  }

  for (const [preset, step] of [
    ['seva-7b', 800],
    ['seva-13b', 500],
  ] as const)
    test(`${preset}: noise step ${step}`, async () => {
      const env = { PRESET: preset };
      const shell = await calls(`bash ${join(root, 'examples/shell/seva.sh')} m a.json images out`, env);
      const make = await calls(
        `make -n -f ${join(root, 'examples/make/Makefile')} DATA=a.json VPREF=vpref | grep '^vpref' | while read -r line; do sh -c "$line" </dev/null; done`,
        env,
      );
      for (const text of [shell, make]) assert.match(text, new RegExp(`^augment --op diffusion:step=${step}\\b`, 'm'));
    });

  test('Li et al.: rows of LRV and SciGraphQA together', async () => {
    const shell = await calls(`bash ${join(root, 'examples/shell/li2024-dpo.sh')} m a.json images b.json figures out`);
    const make = await calls(
      `make -n -f ${join(root, 'examples/make/li2024.mk')} MODEL=m LRV=a.json LRV_IMAGES=images SCIGRAPHQA=b.json FIGURES=figures | grep '^vpref import' | while read -r line; do sh -c "$line" </dev/null; done`,
    );
    for (const text of [shell, make]) {
      assert.match(text, /^import lrv a\.json --limit 2562 --image-root images /m);
      assert.match(text, /^import scigraphqa b\.json --limit 2522 --image-root figures /m);
    }
  });
});

describe('rounds of alignment', () => {
  // Records every call except the gate's and creates its output; a round's score comes from the folder.
  const stub = `#!/bin/bash
echo "$*" >>calls
[ "$1 $2" = "eval gate" ] && exec "$REAL" "$@"
[ "$1 $2" = "eval pope" ] && { file=\${3%.pope.ndjson}; echo '{"benchmark":"pope","split":"all","score":'$(cat score.\${file#out/round-})'}'; exit; }
[ "$1" = eval ] && exit
while [ $# -gt 0 ]; do
  case $1 in -o) out=$2 ;; esac
  shift
done
case $out in *.adapter) mkdir -p "$out"; touch "$out/adapter_model.safetensors" ;; *) touch "$out" ;; esac
`;
  async function rounds(scores: number[], settings: string, cwd = temporaryFolder('rounds')) {
    for (const [round, score] of scores.entries()) writeFileSync(join(cwd, `score.${round}`), String(score));
    if (!existsSync(join(cwd, 'stub'))) {
      for (const name of ['data.json', 'pope.json']) writeFileSync(join(cwd, name), '');
      writeFileSync(join(cwd, 'captions.json'), '{"question_id":1,"image":"a.png"}\n');
      writeFileSync(join(cwd, 'stub'), stub, { mode: 0o755 });
    }
    const line = `REAL=$(command -v vpref) make -s -f ${join(root, 'examples/make/rounds.mk')} VPREF=./stub MODEL=m DATA=data.json IMAGES=. POPE=pope.json POPE_IMAGES=. CAPTIONS=captions.json DIR=out ROUNDS=${scores.length - 1} GATE="--require 'pope.score >= -1 from best'" ${settings}`;
    const { code, stderr } = await runShell(line, { cwd });
    return { cwd, code, stderr, calls: readFileSync(join(cwd, 'calls'), 'utf8').trimEnd().split('\n') };
  }
  const made = (calls: string[], verb: string) => calls.filter((call) => call.startsWith(`${verb} `));

  test('each round samples with, refers to and trains on from the previous one', async () => {
    const { calls, code, stderr } = await rounds([80, 82, 81.5], 'LR_2=1e-6');
    assert.equal(code, 0, stderr);
    const [first, second] = made(calls, 'train');
    assert.match(first!, /--lora-r 64 .*--lr 5e-5 .*-o out\/round-1.adapter /);
    assert.match(second!, /^train out\/round-2.ref.ndjson .*--init-adapter out\/round-1.adapter .*--lr 1e-6 /);
    assert.doesNotMatch(second!, /--lora-r/);
    assert.match(made(calls, 'precompute-ref')[1]!, /--adapter out\/round-1.adapter out\/round-2.pairs.ndjson/);
    assert.match(
      calls.find((call) => /^sample .*round-2.views/.test(call))!,
      /--adapter out\/round-1.adapter --views all/,
    );
    assert.doesNotMatch(calls.find((call) => /^sample .*round-1.views/.test(call))!, /--adapter/);
  });

  test('a round that is worse ends make; with back the next one starts from the best', async () => {
    const stopped = await rounds([80, 82, 50, 83], 'ON_WORSE=stop');
    assert.equal(stopped.code, 2);
    assert.match(stopped.stderr, /requirement failed: pope.score >= -1 from best: got -32 \(50; best 82\)/);
    assert.match(stopped.stderr, /round 2 is worse than round 1/);
    assert.equal(made(stopped.calls, 'train').length, 2);
    const back = await rounds([80, 82, 50, 83], 'ON_WORSE=back', stopped.cwd);
    assert.equal(back.code, 0, back.stderr);
    const trained = made(back.calls, 'train');
    // Finished steps are not repeated.
    assert.equal(trained.length, 3);
    assert.match(trained[2]!, /--init-adapter out\/round-1.adapter /);
    assert.equal(readFileSync(join(back.cwd, 'out/round-3.best'), 'utf8'), '3\n');
  });

  test('a judge takes the place of the views', async () => {
    const { calls, code, stderr } = await rounds([80, 80], "JUDGE='exec:a judge' GUIDE=yes-no");
    assert.equal(code, 0, stderr);
    assert.equal(made(calls, 'augment').length, 0);
    assert.match(made(calls, 'annotate')[0]!, /--judge exec:a judge --guide yes-no out\/round-1.sampled.ndjson/);
    assert.match(made(calls, 'pair')[0]!, /--rule score/);
  });
});
