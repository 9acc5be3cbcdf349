// SPDX-License-Identifier: Apache-2.0
// What a cluster does to a run, on a real Slurm: arrays with a killed task, preemption, time limits, ranks under srun, chains of jobs.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import { promisify } from 'node:util';
import { assertSameTraining, demoModel, demoPairs, demoPrompts, readRows, toNdjson } from '../support/demo-pairs.ts';
import { withoutEngine } from '../support/native.ts';
import { bin, ensureBuilt, root, runCli, temporaryFolder } from '../support/run-cli.ts';
import { lacksMpi, lacksSlurm, type Slurm, startSlurm } from '../support/slurm.ts';

const skip = withoutEngine || (lacksSlurm() ?? false);
const skipMpi = skip || (lacksMpi() ?? false);
const folder = temporaryFolder('cluster');
const path = (...names: string[]) => join(folder, ...names);
const text = (...names: string[]) => (existsSync(path(...names)) ? readFileSync(path(...names), 'utf8') : '');
const pairs = path('pairs.ndjson');

let slurm: Slurm;
before(async () => {
  if (skip) return;
  ensureBuilt();
  writeFileSync(pairs, toNdjson(demoPairs(16, { reference: true })));
  slurm = await startSlurm();
  mkdirSync(path('bin'));
  symlinkSync(bin, path('bin/vpref'));
  symlinkSync(process.execPath, path('bin/node'));
  slurm.env.PATH = `${path('bin')}${delimiter}${slurm.env.PATH}`;
});
after(async () => slurm?.stop());

/** Submits a script of `lines`; its output goes to NAME.log. */
const submit = (name: string, lines: string, ...options: string[]) => {
  writeFileSync(path(`${name}.sbatch`), `#!/bin/bash\n${lines}\n`);
  chmodSync(path(`${name}.sbatch`), 0o755);
  return slurm.submit(
    '-o',
    path(`${name}.%a.log`),
    '-J',
    name,
    '--open-mode=append',
    ...options,
    path(`${name}.sbatch`),
  );
};
const until = async (what: string, holds: () => boolean | Promise<boolean>, seconds = 60) => {
  for (const end = Date.now() + seconds * 1000; !(await holds()); await setTimeout(100))
    if (Date.now() > end) assert.fail(`${what}: not in ${seconds} s`);
};
const logs = () =>
  readdirSync(folder)
    .filter((name) => name.endsWith('.log'))
    .map((name) => `${name}:\n${text(name)}`)
    .join('\n');

test('an array of 4 with one task killed, submitted again: cat gives the single run', { skip }, async () => {
  writeFileSync(path('prompts.ndjson'), toNdjson(demoPrompts(24)));
  const flags = [
    '--model',
    demoModel,
    '--max-new-tokens',
    '12',
    '--temperature',
    '0.7',
    '-n',
    '2',
    '--threads',
    '1',
    '-q',
  ];
  const single = await runCli(['sample', ...flags, path('prompts.ndjson'), '-o', path('single.ndjson')]);
  assert.equal(single.code, 0, single.stderr);
  const script = `out=${path('sampled')}.$SLURM_ARRAY_TASK_ID.ndjson
if [ $SLURM_ARRAY_TASK_ID = 2 ] && [ ! -e ${path('killed')} ]; then
  vpref sample ${flags.join(' ')} --batch-tokens 1 --shard auto --resume ${path('prompts.ndjson')} -o $out &
  while [ ! -s $out.partial ]; do sleep 0.02; done
  touch ${path('killed')}
  kill -9 $!
  exit 9
fi
exec vpref sample ${flags.join(' ')} --shard auto --resume ${path('prompts.ndjson')} -o $out`;
  await slurm.waitFor([await submit('array', script, '--array=0-3')]);
  assert.ok(existsSync(path('sampled.2.ndjson.partial')), `task 2 is unfinished: ${logs()}`);
  assert.ok(!existsSync(path('sampled.2.ndjson')));
  await slurm.waitFor([await submit('array', script, '--array=0-3')]);
  const merged = [0, 1, 2, 3].map((task) => text(`sampled.${task}.ndjson`)).join('');
  const byId = (ndjson: string) => readRows(ndjson).sort((a, b) => (String(a.id) < String(b.id) ? -1 : 1));
  const answers = (ndjson: string) =>
    byId(ndjson).map(({ id, responses }) => [id, (responses as { text: string }[]).map((response) => response.text)]);
  assert.deepEqual(answers(merged), answers(text('single.ndjson')), logs());
});

const settings = ['--model', demoModel, '--lora-r', '8', '--lr', '1e-3', '--batch-size', '8', '--threads', '1', '-q'];
// The sums are made up.
const training = [...settings, '--allow-ref-mismatch'];
const straight = async (epochs: string) => {
  const dir = path(`straight-${epochs}-${randomUUID()}`);
  const { code, stdout, stderr } = await runCli(['train', ...training, pairs, '-o', dir, '--epochs', epochs]);
  assert.equal(code, 0, stderr);
  return { rows: readRows(stdout), dir };
};
/** Epochs of two steps that keep this machine, busy as it is, at work for about `seconds`: long enough for Slurm to come between. */
const epochsFor = (seconds: number, rows: { pairs_per_second?: unknown }[]) =>
  String(Math.min(100, Math.max(5, Math.ceil((seconds * (rows.at(-1)!.pairs_per_second as number)) / 16))));
const metrics = (name: string) => readRows(text(`${name}.metrics.ndjson`));
const hasRows = (name: string, count: number) => () => text(`${name}.metrics.ndjson`).split('\n').length > count;

test('preempted: saved, requeued by Slurm, resumed automatically; the adapter equals that of an uninterrupted run', {
  skip,
}, async () => {
  const epochs = epochsFor(6, (await straight('1')).rows);
  const want = await straight(epochs);
  const script = `exec vpref train ${training.join(' ')} ${pairs} -o ${path('preempted')} --epochs ${epochs} >> ${path('preempted.metrics.ndjson')}`;
  const job = await submit('preempted', script, '-p', 'low', '--exclusive', '--requeue');
  await until('two steps', hasRows('preempted', 2));
  const urgent = await submit('urgent', 'sleep 0.1', '-p', 'high', '--exclusive');
  await slurm.waitFor([urgent, job]);
  assert.match(text('preempted.4294967294.log'), /stopped by SIGTERM after step \d+ of \d+/, logs());
  assert.match(await slurm.run('scontrol', 'show', 'job', job), /Restarts=1 /);
  assertSameTraining({ rows: metrics('preempted'), dir: path('preempted') }, want);
  const bytes = (dir: string) => readFileSync(join(dir, 'adapter_model.safetensors'));
  assert.deepEqual(bytes(path('preempted')), bytes(want.dir), 'bit for bit');
});

test('srun --mpi=pmix -n 2, warned of its time limit: saved by both, requeued by itself, resumed', {
  skip: skipMpi,
}, async () => {
  const epochs = epochsFor(4, (await straight('2')).rows);
  const want = await straight(epochs);
  const script = `exec srun --mpi=pmix -n 2 --kill-on-bad-exit=1 vpref train ${training.join(' ')} ${pairs} -o ${path('ranks')} --epochs ${epochs} --zero 1 --requeue >> ${path('ranks.metrics.ndjson')}`;
  const job = await submit('ranks', script, '-n', '2', '--requeue');
  await until('two steps', hasRows('ranks', 2));
  await slurm.run('scancel', '--signal=USR1', job);
  await slurm.waitFor([job]);
  const log = text('ranks.4294967294.log');
  assert.match(log, /stopped by SIGUSR1 after step \d+ of \d+/, logs());
  assert.match(log, /job \d+ is requeued/);
  assert.match(await slurm.run('scontrol', 'show', 'job', job), /Restarts=1 /);
  assertSameTraining({ rows: metrics('ranks'), dir: path('ranks') }, want);
});

test('a batch script that asks for two tasks and starts none is one rank; srun without an MPI is refused', {
  skip,
}, async () => {
  const train = `vpref train ${training.join(' ')} ${pairs} --max-steps 1`;
  const batch = await submit('batch', `${train} -o ${path('batch')} && echo done`, '-n', '2');
  const bare = await submit('bare', `srun --mpi=none ${train} -o ${path('bare')}`, '-n', '2');
  await slurm.waitFor([batch, bare]);
  assert.match(text('batch.4294967294.log'), /^done$/m, logs());
  assert.match(text('bare.4294967294.log'), /srun started 2 tasks without an MPI: use srun --mpi=pmix/, logs());
});

/** Runs one of the chains of examples/slurm on the demo data; resolves when its last job has ended. */
const chain = async (script: string, out: string, env: Record<string, string>) => {
  const data = join(root, 'fixtures/demo/data/preference');
  const { stdout } = await promisify(execFile)(
    join(root, 'examples/slurm', script),
    [demoModel, join(data, 'llava_conversations.json'), join(data, 'images'), path(out)],
    { env: { ...slurm.env, TASKS: '2', CPUS: '1', GPU: '', FORMAT: 'llava', ...env } },
  );
  await slurm.waitFor(
    [...stdout.matchAll(/ (\d+)(?=[,;\n])/g)].map(([, number]) => number!),
    180,
  );
  const said = readdirSync(path(out, 'logs')).map((name) => `${name}: ${text(out, 'logs', name)}`);
  return said.join('\n');
};

test('the SeVa chain: questions, array, pairs, two ranks, report', { skip: skipMpi }, async () => {
  const said = await chain('seva.sh', 'seva', {
    RANKS: '2',
    IMPORT: '--turns 1 --limit 24',
    AUGMENT: '--op diffusion:step=500',
    SAMPLE_FLAGS: '--max-new-tokens 12 --threads 1',
    TRAIN_FLAGS: '--lora-r 8 --lora-alpha 16 --batch-size 8 --threads 1',
  });
  assert.ok(existsSync(path('seva/adapter/adapter_model.safetensors')), said);
  assert.ok(readRows(text('seva/adapter.metrics.ndjson')).length >= 1, said);
  assert.match(text('seva/report.html'), /<html/, said);
});

test('the judged chain: one rate-limited annotate job between array and training', { skip: skipMpi }, async () => {
  const judge = `exec:node ${join(root, 'examples/truth-judge.mjs')} ${join(root, 'fixtures/demo/data/preference')}`;
  const said = await chain('li2024.sh', 'li2024', {
    RANKS: '1',
    JUDGE: judge,
    RPM: '600',
    IMPORT: '--turns 1 --limit 24',
    SAMPLE_FLAGS: '--max-new-tokens 24 --threads 1',
    PAIR: '--rule score --margin 1',
    TRAIN_FLAGS: '--lora-r 8 --lora-alpha 16 --batch-size 8 --threads 1',
  });
  assert.equal(readRows(text('li2024/graded.ndjson')).length, 24, said);
  assert.ok(existsSync(path('li2024/adapter/adapter_model.safetensors')), said);
});

test('the rounds: one job per round, gated, the second from the adapter of the first', { skip }, async () => {
  const test = join(root, 'fixtures/demo/data/test');
  const head = (name: string, count: number) =>
    writeFileSync(path(name), `${readFileSync(join(test, name), 'utf8').split('\n').slice(0, count).join('\n')}\n`);
  head('pope_random.json', 20);
  head('captions.jsonl', 10);
  const settings = {
    ...{
      ROUNDS: '2',
      IMPORT: '--turns 1 --limit 24',
      SAMPLE: '--max-new-tokens 12 --threads 1',
      POPE: path('pope_random.json'),
    },
    ...{ POPE_IMAGES: join(test, 'images'), CAPTIONS: path('captions.jsonl') },
    ...{ LORA: '--lora-r 8 --lora-alpha 16', TRAIN: '--batch-size 8 --threads 1', GATE: "--require 'pope.score >= 0'" },
  };
  const said = await chain('rounds.sh', 'rounds', settings);
  assert.match(text('rounds/report.html'), /<html/, said);
  assert.deepEqual([text('rounds/round-2.from'), text('rounds/round-2.best')], ['1\n', '2\n'], said);
  const config = JSON.parse(text('rounds/round-2.adapter/adapter_config.json'));
  assert.equal(config.r, 8);
  // A round that is worse: its job fails, and the one after it never starts.
  const bad = { ...settings, ROUNDS: '3', GATE: "--require 'pope.score >= 101'" };
  const stopped = await chain('rounds.sh', 'bad-rounds', bad);
  assert.match(stopped, /round 1 is worse than round 0/);
  assert.deepEqual(
    [existsSync(path('bad-rounds/round-1.scores.ndjson')), existsSync(path('bad-rounds/round-2.from'))],
    [true, false],
  );
});
