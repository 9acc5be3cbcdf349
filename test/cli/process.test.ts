// SPDX-License-Identifier: Apache-2.0
// Covers src/cli/main.ts src/cli/run.ts src/cli/stop.ts src/cli/record-command.ts src/cli/journal.ts src/cli/flags.ts
// The process as the shell sees it: pipes, signals, full disks, exit codes.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  type CliResult,
  collect,
  ensureBuilt,
  runCli,
  runShell,
  spawnCli,
  temporaryFolder,
} from '../support/run-cli.ts';

const folder = temporaryFolder('process');
const numRecords = 20_000;
const records = Array.from(
  { length: numRecords },
  (_, i) =>
    `${JSON.stringify({ id: `q${i}`, images: [`/data/${i}.jpg`], prompt: `What is in picture ${i}?`, meta: { weight: i / 7 } })}\n`,
);
const input = join(folder, 'in.ndjson');
// A stage that draws from the seed, needs no files, and gives one row a record.
const stage = ['augment', '--op', 'diffusion:step=800'];
let straight: string;

before(async () => {
  ensureBuilt();
  writeFileSync(input, records.join(''));
  const result = await runCli([...stage, input]);
  assert.deepEqual([result.code, result.stderr], [0, '']);
  straight = result.stdout;
  assert.equal(straight.split('\n').length, numRecords + 1);
});

const out = (name: string) => join(temporaryFolder('process'), name);
const until = async (condition: () => boolean) => {
  while (!condition()) await sleep(2);
};
const sizeOf = (path: string) => statSync(path, { throwIfNoEntry: false })?.size ?? 0;

describe('streams', { concurrency: 2 }, () => {
  test('stdin, a file, "-" and -o give the same bytes', async () => {
    const path = out('o.ndjson');
    const results = [
      await runCli(stage, { input: records.join('') }),
      await runCli([...stage, '-'], { input: records.join('') }),
    ];
    for (const { stdout } of results) assert.ok(stdout === straight);
    await runCli([...stage, input, '-o', path]);
    assert.ok(readFileSync(path, 'utf8') === straight);
  });

  test('a reader that stops ends the run with 141, without a message', async () => {
    const line = `vpref ${stage.join(' ')} ${input}`;
    const { code, stdout, stderr } = await runShell(`${line} | head -1; exit \${PIPESTATUS[0]}`);
    assert.deepEqual([code, stderr], [141, '']);
    assert.equal(stdout, straight.slice(0, straight.indexOf('\n') + 1));
    const early = await runShell(`${line} | true; exit \${PIPESTATUS[0]}`);
    assert.deepEqual([early.code, early.stderr], [141, '']);
  });

  test('a reader that sleeps past every timeout loses nothing', async () => {
    const { code, stdout } = await runShell(`vpref ${stage.join(' ')} ${input} | (sleep 13; cat)`);
    assert.equal(code, 0);
    assert.ok(stdout === straight);
  });

  test('rows written before an error reach a slow reader', async () => {
    const bad = out('bad.ndjson');
    writeFileSync(bad, `${records.join('')}not json\n`);
    const { code, stdout, stderr } = await runShell(`vpref ${stage.join(' ')} ${bad} | (sleep 1; cat)`);
    assert.equal(code, 2);
    assert.match(stderr, /bad\.ndjson:20001: record: expected a JSON object, got bad JSON: unexpected "o" at column 2/);
    assert.ok(stdout === straight);
  });

  test('a producer that feeds rows one by one sees each come out at once', async () => {
    const child = spawnCli(stage);
    for (const record of records.slice(0, 3)) {
      child.stdin!.write(record);
      const [chunk] = await once(child.stdout!, 'data');
      assert.equal(JSON.parse(String(chunk)).id, JSON.parse(record).id);
    }
    child.stdin!.end();
    const [code] = await once(child, 'close');
    assert.equal(code, 0);
  });

  test('bytes that arrive with the start of the process are not lost', async () => {
    for (let i = 0; i < 5; i++) {
      const { stdout } = await runShell(`cat ${input} | vpref ${stage.join(' ')} --limit 2000 | wc -l`);
      assert.equal(stdout.trim(), '2000');
    }
  });
});

describe('full disks', () => {
  test('stdout', async () => {
    const { code, stderr } = await runShell(`vpref ${stage.join(' ')} ${input} > /dev/full`);
    assert.equal(code, 1);
    assert.match(stderr, /^vpref augment: stdout: no space left on device$/m);
  });

  test('-o: the error names the full disk, FILE.partial stays, --resume continues it', async (t) => {
    const path = out('o.ndjson');
    // A limit on the size of files fails writes as a full disk does.
    const limited = `ulimit -f 512; trap '' XFSZ; vpref ${stage.join(' ')} ${input} -o ${path}`;
    const { code, stderr } = await runShell(limited);
    if (code === 0) return t.skip('this shell cannot limit file sizes');
    assert.equal(code, 1);
    assert.match(stderr, /o\.ndjson: no space left on device; .*o\.ndjson\.partial is saved: run again with --resume/);
    assert.ok(!existsSync(path));
    assert.equal(sizeOf(`${path}.partial`), 512 * 1024);
    const resumed = await runCli([...stage, input, '-o', path, '--resume']);
    assert.equal(resumed.code, 0);
    assert.ok(readFileSync(path, 'utf8') === straight);
  });
});

describe('signals', () => {
  for (const [signal, code] of [
    ['SIGTERM', 75],
    ['SIGUSR1', 75],
    ['SIGINT', 130],
  ] as const)
    test(`${signal} saves and exits ${code}; --resume gives the uninterrupted result`, async () => {
      const path = out('o.ndjson');
      const child = spawnCli([...stage, '-o', path]);
      const ended = collect(child);
      child.stdin!.write(records.slice(0, 500).join(''));
      await until(() => sizeOf(`${path}.partial`) > 0);
      child.kill(signal);
      const result: CliResult = await ended;
      assert.equal(result.code, code);
      assert.match(
        result.stderr,
        new RegExp(`stopped by ${signal}; .*o\\.ndjson\\.partial is saved: run again with --resume\n$`),
      );
      assert.equal(readFileSync(`${path}.partial`, 'utf8').split('\n').length, 501);
      assert.equal((await runCli([...stage, input, '-o', path, '--resume'])).code, 0);
      assert.ok(readFileSync(path, 'utf8') === straight);
    });

  test('SIGTERM while a reader of stdout is waited for ends the run when the second comes', async () => {
    const child = spawnCli([...stage, input]);
    const exited = once(child, 'exit');
    child.stdin!.end();
    // Rows are there and none is read: the pipe fills and the run waits.
    await once(child.stdout!, 'readable');
    child.kill('SIGTERM');
    await sleep(300);
    child.kill('SIGTERM');
    const [code] = await exited;
    assert.equal(code, 75);
  });

  test('killed at random moments and resumed repeatedly, the file equals that of an uninterrupted run', async () => {
    const path = out('o.ndjson');
    let kills = 0;
    for (let delay = 20; ; delay = (delay * 7 + 13) % 90) {
      const child = spawnCli([...stage, input, '-o', path, '--resume']);
      const ended = collect(child);
      child.stdin!.end();
      const before = sizeOf(`${path}.partial`);
      await Promise.race([ended, until(() => sizeOf(`${path}.partial`) > before || existsSync(path))]);
      await sleep(delay);
      child.kill('SIGKILL');
      const { code } = await ended;
      if (code === 0) break;
      kills += 1;
      if (kills === 12) {
        await runCli([...stage, input, '-o', path, '--resume']);
        break;
      }
    }
    assert.ok(kills > 0);
    assert.ok(readFileSync(path, 'utf8') === straight);
  });

  test('a job that Slurm has requeued resumes by itself', async () => {
    const path = out('o.ndjson');
    // A file of an earlier run is in nobody's way, as at the job's first start.
    writeFileSync(path, '{"id":"old"}\n');
    const child = spawnCli([...stage, input, '-o', path], { env: { SLURM_JOB_ID: '7', SLURM_RESTART_COUNT: '0' } });
    child.stdin!.end();
    const ended = collect(child);
    await until(() => sizeOf(`${path}.partial`) > 0);
    child.kill('SIGKILL');
    await ended;
    const { code, stderr } = await runCli([...stage, input, '-o', path], {
      env: { SLURM_JOB_ID: '7', SLURM_RESTART_COUNT: '1' },
    });
    assert.equal(code, 0, stderr);
    assert.match(stderr, /resuming after \d+ rows of/);
    assert.ok(readFileSync(path, 'utf8') === straight);
  });
});

describe('command line', { concurrency: 2 }, () => {
  const cases: [args: string[], code: number, stderr: RegExp][] = [
    [['bogus'], 2, /^vpref bogus: expected a command, got "bogus" \(see --help\)\n$/],
    [['bogus', 'x'], 2, /^vpref bogus: expected a command, got "bogus" \(see --help\)\n$/],
    [['augment', '--bogus'], 2, /^vpref augment: unknown flag: --bogus \(see --help\)\n$/],
    [['augment', '--limit', '-1'], 2, /^vpref augment: --limit: expected an integer of at least 0, got "-1"\n$/],
    [['augment', '--limit', '1.5'], 2, /^vpref augment: --limit: expected an integer of at least 0, got "1.5"\n$/],
    [['augment', '--seed', 'x'], 2, /--seed: expected an integer of at least 0, got "x"/],
    [['augment', '--shard', '2/2'], 2, /--shard: expected INDEX\/COUNT with 0 <= INDEX < COUNT, or auto, got "2\/2"/],
    [['augment', '--shard', 'auto'], 2, /--shard auto: SLURM_ARRAY_TASK_ID: expected an integer, it is not set/],
    [['augment', '--on-error', 'retry'], 2, /--on-error: expected one of fail, skip, keep, got retry/],
    [['augment', '--limit'], 2, /--limit: expected a value, got nothing/],
    [[...stage, 'none.ndjson'], 2, /none\.ndjson: expected a file, got nothing of that name/],
    [[...stage, '--resume', input], 2, /--resume: expected -o FILE, the file to resume/],
    [[...stage, '-', '-'], 2, /-: expected once, got twice/],
    [
      [...stage, input, '-o', '/nowhere/x'],
      2,
      /-o \/nowhere\/x: expected a file in a directory that exists, got \/nowhere/,
    ],
  ];
  for (const [args, code, stderr] of cases)
    test(`vpref ${args.join(' ').replace(folder, '')}`, async () => {
      const result = await runCli(args);
      assert.match(result.stderr, stderr);
      assert.deepEqual([result.code, result.stdout], [code, '']);
    });

  test('--help and --version go to stdout with status 0', async () => {
    for (const args of [['--help'], ['augment', '--help'], ['augment', '-h'], ['--version'], ['-V']]) {
      const { code, stdout, stderr } = await runCli(args);
      assert.deepEqual([code, stderr], [0, ''], args.join(' '));
      assert.match(stdout, /vpref/);
    }
  });

  test('files after a repeatable flag are files', async () => {
    const { code, stdout } = await runCli(['augment', '--op', 'diffusion:step=800', input, '--limit', '1', '-q']);
    assert.equal(code, 0);
    assert.equal(stdout, straight.slice(0, straight.indexOf('\n') + 1));
  });

  test('no input at all is no records', async () => {
    assert.deepEqual(await runCli(stage), { code: 0, stdout: '', stderr: '' });
  });

  test('--progress always writes plain lines off a terminal, and a summary', async () => {
    const { stderr } = await runCli([...stage, input, '--progress', 'always', '-o', '/dev/null']);
    assert.match(stderr, /^vpref augment: 20,000 in, 20,000 out, [\d,]+ images\/s, \d+(\.\d)? s\n$/);
  });
});
