// SPDX-License-Identifier: Apache-2.0
// Two runs and one output, as processes: the second is refused by name, a killed one is in nobody's way, and what is resumed is what was begun.
// Covers src/cli/lock.ts src/cli/settings-file.ts src/cli/run.ts src/cli/record-command.ts
import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import { withoutEngine } from '../support/native.ts';
import { type CliResult, collect, root, runCli, spawnCli, temporaryFolder } from '../support/run-cli.ts';

const line = (id: string) => `${JSON.stringify({ id, images: ['a.png'], prompt: 'p', chosen: 'A', rejected: 'B' })}\n`;
const slowJudge = `exec:sh -c 'sleep 30'`;
const tiny = join(root, 'fixtures/tiny-gqa');

function folderWith(rows: number): string {
  const cwd = temporaryFolder('writers');
  writeFileSync(join(cwd, 'in.ndjson'), Array.from({ length: rows }, (_, i) => line(`r${i}`)).join(''));
  return cwd;
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await setTimeout(5);
}

/** Starts a run that waits for input, and returns once it holds `lock`. */
async function holding(cwd: string, args: string[], lock: string) {
  const child = spawnCli(args, { cwd });
  const ended = collect(child);
  await Promise.race([until(() => existsSync(join(cwd, lock))), ended]);
  return { child, ended };
}

const isHeld = ({ code, stderr }: CliResult, output: string) => {
  assert.equal(code, 1, stderr);
  assert.match(stderr, new RegExp(`^vpref [a-z-]+: -o ${output}: is being written by vpref [a-z-]+, process \\d+ on `));
};

describe('two runs and one output', { concurrency: 2 }, () => {
  const stages: [name: string, args: string[]][] = [
    ['pair', ['pair', '--rule', 'given']],
    ['annotate', ['annotate', '--judge', slowJudge]],
    ['augment', ['augment', '--op', 'diffusion:step=800']],
    ['export', ['export', 'trl']],
    ['report', ['report']],
    ['import', ['import', 'llava']],
  ];
  for (const [name, args] of stages)
    test(`${name}: the second run is refused with the name of the first, which continues`, async () => {
      const cwd = folderWith(3);
      const { child, ended } = await holding(cwd, [...args, '-', '-o', 'out'], '.out.lock');
      for (const more of [[], ['--resume']])
        if (more.length === 0 || !/export|report/.test(name))
          isHeld(await runCli([...args, 'in.ndjson', '-o', 'out', ...more], { cwd }), 'out');
      child.kill('SIGTERM');
      await ended;
      assert.ok(!existsSync(join(cwd, '.out.lock')));
    });

  test('a killed run does not block others', async () => {
    const cwd = folderWith(2000);
    for (let kill = 0; kill < 8; kill += 1) {
      const child = spawnCli(['augment', '-q', '--op', 'diffusion:step=800', 'in.ndjson', '-o', 'out', '--resume'], {
        cwd,
      });
      const ended = collect(child);
      await Promise.race([until(() => existsSync(join(cwd, '.out.lock'))), ended]);
      await setTimeout(kill * 3);
      child.kill('SIGKILL');
      await ended;
    }
    const started = performance.now();
    const last = await runCli(['augment', '-q', '--op', 'diffusion:step=800', 'in.ndjson', '-o', 'out', '--resume'], {
      cwd,
    });
    assert.equal(last.code, 0, last.stderr);
    // Far below the time after which a lock of another machine is taken over.
    assert.ok(performance.now() - started < 60_000);
    const straight = await runCli(['augment', '-q', '--op', 'diffusion:step=800', 'in.ndjson'], { cwd });
    assert.equal(readFileSync(join(cwd, 'out'), 'utf8'), straight.stdout);
    assert.deepEqual(readdirSync(cwd).sort(), ['.out.settings', 'in.ndjson', 'out']);
  });

  test('train and export merge: the second refuses the folder that the first holds', async (t) => {
    if (withoutEngine) return t.skip(withoutEngine);
    const cwd = folderWith(1);
    const train = ['train', '--model', tiny, '--lora-r', '1', '-o', 'run'];
    const { child, ended } = await holding(cwd, train, 'run/.lock');
    isHeld(await runCli([...train, 'in.ndjson'], { cwd }), 'run');
    // Nothing came, nothing is left.
    child.kill('SIGTERM');
    await ended;
    assert.ok(!existsSync(join(cwd, 'run')));
    writeFileSync(join(cwd, '.merged.lock'), '');
    const beat = setInterval(() => writeFileSync(join(cwd, '.merged.lock'), 'x'), 200);
    const merge = await runCli(['export', 'merge', '--model', tiny, '--adapter', 'none', '-o', 'merged'], { cwd });
    clearInterval(beat);
    assert.equal(merge.code, 1);
    assert.match(merge.stderr, /-o merged: is being written by a run, process 0 on an unknown host/);
  });

  test('a launcher without MPI is refused', async () => {
    const env = { RANK: '0', LOCAL_RANK: '0', WORLD_SIZE: '2', MASTER_ADDR: 'localhost' };
    const { code, stderr } = await runCli(['train', '--model', 'm', '-o', 'run', 'in.ndjson'], {
      cwd: folderWith(1),
      env,
    });
    assert.equal(code, 2);
    assert.match(stderr, /^vpref train: RANK 0 of WORLD_SIZE 2: .*mpirun -n 2/);
  });
});

describe('a finished FILE', { concurrency: 2 }, () => {
  const augment = (...more: string[]) => ['augment', '-q', 'in.ndjson', '-o', 'out', ...more];

  test('is resumed with a longer input and other threads, refused with another step', async () => {
    const cwd = folderWith(3);
    assert.equal((await runCli(augment('--op', 'diffusion:step=500'), { cwd })).code, 0);
    const first = readFileSync(join(cwd, 'out'), 'utf8');
    writeFileSync(join(cwd, 'in.ndjson'), readFileSync(join(cwd, 'in.ndjson'), 'utf8') + line('r3'));
    const other = await runCli(augment('--op', 'diffusion:step=800', '--resume'), { cwd });
    assert.equal(other.code, 2);
    assert.match(
      other.stderr,
      /--resume: op: expected \["diffusion:step=500"\] as in the run that made out, got \["diffusion:step=800"\]/,
    );
    assert.equal(readFileSync(join(cwd, 'out'), 'utf8'), first);
    const grown = await runCli(augment('--op', 'diffusion:step=500', '--resume', '--threads', '1'), { cwd });
    assert.equal(grown.code, 0, grown.stderr);
    const rows = readFileSync(join(cwd, 'out'), 'utf8');
    assert.ok(rows.startsWith(first) && rows.length > first.length);
  });

  test('is not resumed with an input that lacks its rows', async () => {
    const cwd = folderWith(3);
    assert.equal((await runCli(augment('--op', 'diffusion:step=500'), { cwd })).code, 0);
    writeFileSync(join(cwd, 'in.ndjson'), line('r0') + line('r2') + line('r7'));
    const { code, stderr } = await runCli(augment('--op', 'diffusion:step=500', '--resume'), { cwd });
    assert.equal(code, 2);
    assert.match(stderr, /--resume: out: row "r1": expected a row of a record in the input/);
  });
});

describe('an empty path', { concurrency: 2 }, () => {
  const cases: [args: string[], message: RegExp][] = [
    [['pair', '--rule', 'given', 'in.ndjson', '-o', ''], /^vpref pair: -o: expected FILE, got ""\n$/],
    [['pair', '--rule', 'given', 'in.ndjson', '--summary='], /--summary: expected FILE, got ""/],
    [['train', '--model', 'm', 'in.ndjson', '-o', ''], /-o: expected FILE, got ""/],
    [['sample', '--model', '', 'in.ndjson'], /--model: expected DIR, got ""/],
    [['import', 'llava', '--image-root', '', 'in.ndjson'], /--image-root: expected \[SOURCE=\]DIR, got ""/],
    [['pair', '--rule', 'given', ''], /FILE: expected the name of a file, got ""/],
  ];
  for (const [args, message] of cases)
    test(args.join(' ') || 'FILE', async () => {
      const cwd = folderWith(1);
      const { code, stdout, stderr } = await runCli(args, { cwd });
      assert.deepEqual([code, stdout], [2, '']);
      assert.match(stderr, message);
    });
});

test('a failure after the last row keeps its own error', async () => {
  const cwd = folderWith(2);
  const { child, ended } = await holding(
    cwd,
    ['augment', '-q', '--op', 'diffusion:step=800', '-o', 'out'],
    '.out.lock',
  );
  child.stdin!.write(line('a'));
  await until(() => existsSync(join(cwd, 'out.partial')));
  mkdirSync(join(cwd, 'out'));
  child.stdin!.end();
  const { code, stderr } = await ended;
  assert.equal(code, 1);
  assert.match(
    stderr,
    /^vpref augment: out: cannot be written: EISDIR.*; out\.partial is saved: run again with --resume\n$/,
  );
});
