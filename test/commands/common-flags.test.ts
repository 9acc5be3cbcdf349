// SPDX-License-Identifier: Apache-2.0
// Every verb has the common flags, or says why not; and what export, which has rows without ids, makes of them.
// Covers src/cli/run.ts src/cli/record-command.ts src/cli/preset.ts src/cli/failed-rows.ts
import assert from 'node:assert/strict';
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { before, describe, test } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import { readCommands } from '../../scripts/manifest.ts';
import { recordFlags } from '../../src/cli/flags.ts';
import { collect, ensureBuilt, runCli, runShell, spawnCli, temporaryFolder } from '../support/run-cli.ts';

before(ensureBuilt);

const pair = (id: string, more: object = {}) => ({
  id,
  images: ['/x.png'],
  prompt: 'q',
  chosen: 'a',
  rejected: 'b',
  ...more,
});
const ndjson = (rows: object[]) => rows.map((row) => `${JSON.stringify(row)}\n`).join('');

describe('common flags', { concurrency: 2 }, () => {
  for (const { id, flags, inapplicable = {} } of readCommands())
    test(`${id} has each of them, or refuses it with a reason`, async () => {
      for (const name of Object.keys(recordFlags)) {
        assert.notEqual(name in flags, name in inapplicable, name);
        if (name in flags) continue;
        const { code, stderr } = await runCli([id, `--${name}=1`]);
        assert.deepEqual(
          [code, stderr],
          [2, `vpref ${id}: --${name}: ${id} has no such flag: ${inapplicable[name]}\n`],
        );
      }
    });
});

test('export: a resumed run gives the bytes of an uninterrupted one, cut anywhere, lines and arrays', async () => {
  const cwd = temporaryFolder('export-resume');
  writeFileSync(join(cwd, 'in.ndjson'), ndjson(Array.from({ length: 40 }, (_, index) => pair(`p${index}`))));
  for (const format of ['trl', 'llava']) {
    const command = `vpref export ${format} in.ndjson`;
    await runShell(`${command} -o whole`, { cwd });
    const whole = readFileSync(join(cwd, 'whole'));
    for (const bytes of [0, 1, 2, 500, whole.length - 3, whole.length - 1, whole.length]) {
      writeFileSync(join(cwd, 'part.partial'), whole.subarray(0, bytes));
      const { code, stderr } = await runShell(`${command} -o part --resume`, { cwd });
      assert.equal(code, 0, stderr);
      assert.deepEqual(readFileSync(join(cwd, 'part')), whole, `${format}, ${bytes} bytes`);
      assert.ok(!existsSync(join(cwd, 'part.partial')));
    }
    // The input has grown since.
    await runShell(`head -n 15 in.ndjson | vpref export ${format} -o grown`, { cwd });
    assert.equal((await runShell(`${command} -o grown --resume`, { cwd })).code, 0);
    assert.deepEqual(readFileSync(join(cwd, 'grown')), whole);
  }
});

test('export: an unfinished file of something else is refused and left as it is', async () => {
  const cwd = temporaryFolder('export-resume-other');
  const run = (line: string) => runShell(line, { cwd, input: ndjson([pair('a'), pair('b')]) });
  await run('vpref export seva -o out');
  const other = readFileSync(join(cwd, 'out'), 'utf8');
  rmSync(join(cwd, 'out'));
  writeFileSync(join(cwd, 'out.partial'), `${other}torn`);
  for (const [flags, message] of [
    ['', /out\.partial: left unfinished by an earlier run/],
    ['--resume', /out\.partial:1: expected the row that this input and these flags give, got another/],
  ] as const) {
    const { code, stderr } = await run(`vpref export trl -o out ${flags}`);
    assert.equal(code, 2);
    assert.match(stderr, message);
    assert.equal(readFileSync(join(cwd, 'out.partial'), 'utf8'), `${other}torn`);
  }
  const { code, stderr } = await run('vpref export trl --resume');
  assert.deepEqual([code, stderr], [2, 'vpref export: --resume: expected -o FILE, the file to resume\n']);
});

test('export: a stopped run is saved, and a restarted job resumes it', async () => {
  const cwd = temporaryFolder('export-stop');
  const rows = Array.from({ length: 30 }, (_, index) => pair(`p${index}`));
  writeFileSync(join(cwd, 'in'), ndjson(rows));
  const child = spawnCli(['export', 'trl', '-o', 'out'], { cwd });
  const end = collect(child);
  child.stdin!.write(ndjson(rows.slice(0, 10)));
  while (!existsSync(join(cwd, 'out.partial')) || readFileSync(join(cwd, 'out.partial')).length === 0)
    await setTimeout(20);
  child.kill('SIGTERM');
  const { code, stderr } = await end;
  assert.deepEqual(
    [code, stderr],
    [75, 'vpref export: stopped by SIGTERM; out.partial is saved: run again with --resume\n'],
  );
  assert.equal((await runShell('vpref export trl in -o out', { cwd, env: { SLURM_RESTART_COUNT: '1' } })).code, 0);
  await runShell('vpref export trl in -o whole', { cwd });
  assert.equal(readFileSync(join(cwd, 'out'), 'utf8'), readFileSync(join(cwd, 'whole'), 'utf8'));
});

test('export --on-error keep: failed records are in FILE.errors.ndjson, with their errors', async () => {
  const cwd = temporaryFolder('export-keep');
  const failed = pair('d', { error: { stage: 'sample', code: 'timeout', message: 'late' } });
  const input = `${ndjson([pair('a'), pair('b', { chosen: 3 }), { id: 'c', prompt: 'q' }, failed])}no json\n${ndjson([pair('e')])}`;
  const { code, stderr } = await runShell('vpref export trl -o out --on-error keep', { cwd, input });
  assert.equal(code, 3);
  assert.match(stderr, /3 records failed and left out: written to out\.errors\.ndjson\n$/);
  assert.equal(readFileSync(join(cwd, 'out'), 'utf8').split('\n').length, 3);
  const errors = readFileSync(join(cwd, 'out.errors.ndjson'), 'utf8').trim().split('\n');
  const kept = errors.map((line) => JSON.parse(line));
  assert.deepEqual(
    kept.map(({ id, error }) => [id, error.stage, error.code]),
    [
      ['b', 'export', 'bad-record'],
      ['c', 'export', 'bad-record'],
      ['d', 'sample', 'timeout'],
    ],
  );
  assert.match(kept[0].error.message, /^stdin:2: chosen: expected a string, got number 3$/);
  // All is well now: what failed then is gone.
  assert.equal(
    (await runShell('vpref export trl -o out --on-error keep', { cwd, input: ndjson([pair('a')]) })).code,
    0,
  );
  assert.ok(!existsSync(join(cwd, 'out.errors.ndjson')));
});

test('export merge takes no flags about records', async () => {
  const { code, stderr } = await runCli([
    'export',
    'merge',
    '--model',
    'm',
    '--adapter',
    'a',
    '-o',
    'x',
    '--limit',
    '3',
  ]);
  assert.deepEqual([code, stderr], [2, 'vpref export: --limit: expected a format of records, got export merge\n']);
});

test('pair --balance and --max-pairs: a restarted job starts over, and gives the same bytes', async () => {
  const cwd = temporaryFolder('pair-restart');
  const responses = [{ text: 'yes' }, { text: 'no', view: 'flip' }];
  writeFileSync(
    join(cwd, 'in.ndjson'),
    ndjson(Array.from({ length: 50 }, (_, index) => ({ id: `r${index}`, prompt: 'q', responses }))),
  );
  const command = 'vpref pair -q --rule seva --max-pairs 20 in.ndjson -o';
  await runShell(`${command} whole`, { cwd });
  const whole = readFileSync(join(cwd, 'whole'), 'utf8');
  for (const left of [whole.slice(0, 700), whole]) {
    writeFileSync(join(cwd, 'part.partial'), left);
    const { code, stderr } = await runShell(`${command} part`, { cwd, env: { SLURM_RESTART_COUNT: '1' } });
    assert.equal(code, 0, stderr);
    assert.equal(readFileSync(join(cwd, 'part'), 'utf8'), whole);
  }
});

test('pair --max-pairs: a stopped run saves no file that could not be resumed', async () => {
  const cwd = temporaryFolder('pair-stop');
  const child = spawnCli(['pair', '--rule', 'given', '--max-pairs', '5', '-o', 'out'], { cwd });
  const end = collect(child);
  child.stdin!.write(ndjson([pair('a')]));
  while (!existsSync(join(cwd, 'out.journal'))) await setTimeout(20);
  await setTimeout(100);
  child.kill('SIGTERM');
  const { code, stderr } = await end;
  assert.equal(code, 75);
  assert.match(stderr, /^vpref pair: stopped by SIGTERM$/m);
  assert.ok(!existsSync(join(cwd, 'out.partial')) && !existsSync(join(cwd, 'out')));
});

test('--faithful gives one warning if it changes nothing, and none if it does', async () => {
  const said = /^vpref \w+: --faithful: has no effect/gm;
  const record = JSON.stringify({ id: 'a', prompt: 'q', responses: [{ text: 'x' }, { text: 'y', view: 'flip' }] });
  const count = async (line: string) =>
    (await runShell(line, { input: `${record}\n` })).stderr.match(said)?.length ?? 0;
  assert.equal(await count('vpref pair --rule kto --from best --faithful'), 0, 'a wrong command line says that alone');
  assert.equal(await count('vpref pair --rule sft --faithful'), 1);
  assert.equal(await count('vpref pair --rule seva --faithful'), 0);
  assert.equal(await count('vpref import trl --faithful'), 1);
  assert.equal(await count('vpref import llava --turns 1 --faithful'), 0);
  assert.equal(
    await count('vpref sample --endpoint http://127.0.0.1:9/v1 --model m --faithful --on-error skip --attempts 1'),
    1,
  );
});

test('a common flag without effect gives a note', async () => {
  const { stderr } = await runCli(['export', 'trl', '--seed', '4', '--threads', '2'], { input: ndjson([pair('a')]) });
  assert.equal(
    stderr,
    'vpref export: --seed: nothing is random here\nvpref export: --threads: rows are written by one thread\n',
  );
});
