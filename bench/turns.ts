// SPDX-License-Identifier: Apache-2.0
// This checkout and an older one in turns on the same inputs: the engine's tasks, DPO steps, start-up, data stages, and the host's time per decode step.
//   node --import tsx bench/turns.ts OLD [--only engine,train,startup,ndjson,host] [--rounds 4] [--try]
// Both checkouts are built: scripts/build-native.sh --no-tests -DVPREF_BENCH=ON && node scripts/build.mjs. --try keeps no rows.
import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { dataCommands, idleCommands, writeRecords } from './support/commands.ts';
import { keep, type Run, root, type Subject, takeTurns, vprefOf } from './support/run.ts';

const { values: flags, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    only: { type: 'string', default: 'engine,train,startup,ndjson,host' },
    rounds: { type: 'string', default: '4' },
    try: { type: 'boolean', default: false },
  },
});
const before = positionals[0];
process.env.OMP_WAIT_POLICY ??= 'passive'; // of oneDNN's threads, as the commands set it (src/engine/binding.ts)
if (before === undefined) throw new Error('usage: turns.ts OLD, a built checkout of the older commit');
const [rounds, old] = [Number(flags.rounds), resolve(before)];
const folder = mkdtempSync(join(tmpdir(), 'vpref-turns-'));
process.on('exit', () => rmSync(folder, { recursive: true, force: true }));

/** Seconds of one unit of a task. */
interface Figure {
  task: string;
  seconds: number;
  cpuSeconds: number;
}
/** A program of each checkout, and the figures of one run of it; without `read` its whole time. */
interface Program {
  subject(checkout: string): Subject;
  rounds: number;
  read?(run: Run): Figure[];
}

/** The newest native bench of a checkout. */
function bench(checkout: string, name: string): string {
  const build = join(checkout, 'build/native');
  const found = existsSync(build)
    ? readdirSync(build)
        .map((key) => join(build, key, name))
        .filter(existsSync)
    : [];
  if (found.length !== 1)
    throw new Error(`${build}: expected one ${name}, got ${found.length}; build with -DVPREF_BENCH=ON`);
  return found[0]!;
}

const lines = <T>(run: Run): T[] =>
  run.output
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));

/** A LLaVA of 157M parameters, f32; both engines read the same files. */
function model(): string {
  const path = join(folder, 'model');
  if (!existsSync(path)) execFileSync(bench(root, 'bench_engine'), ['make', path]);
  return path;
}

const programs: Record<string, () => Program[] | Promise<Program[]>> = {
  engine: () =>
    ['prefill', 'decode1', 'decode8', 'score'].map((task) => ({
      rounds,
      subject: (checkout) => ({
        name: task,
        argv: [bench(checkout, 'bench_engine'), task, model(), '2', '1'],
        readsOutput: true,
      }),
      read: (run) =>
        lines<{ seconds: number; cpu_seconds: number }>(run).map((row) => ({
          task,
          seconds: row.seconds,
          cpuSeconds: row.cpu_seconds,
        })),
    })),
  train: () => [
    {
      rounds,
      subject: (checkout) => ({
        name: 'train',
        argv: [bench(checkout, 'bench_train'), model(), '2', '1'],
        readsOutput: true,
      }),
      // Processor time of the whole process, of which the pairs are nearly all.
      read: (run) =>
        lines<{ seconds_per_pair: number }>(run).map((row) => ({
          task: 'DPO step, per pair',
          seconds: row.seconds_per_pair,
          cpuSeconds: run.cpu,
        })),
    },
  ],
  startup: () => commands(idleCommands, 3 * rounds),
  ndjson: async () => {
    const path = await writeRecords(folder, 200_000);
    return commands((vpref) => dataCommands(vpref, path), rounds);
  },
  host: () => [
    {
      rounds,
      subject: (checkout) => ({
        name: 'host',
        argv: [process.execPath, '--import', 'tsx', join(root, 'bench/support/decode-steps.ts'), checkout, '5'],
        readsOutput: true,
      }),
      read: (run) =>
        lines<{ prompts: number; samples: number; microseconds: number }>(run).map(
          ({ prompts, samples, microseconds }) => ({
            task: `decode step, 2 small layers, ${prompts} x ${samples}`,
            seconds: microseconds / 1e6,
            cpuSeconds: microseconds / 1e6,
          }),
        ),
    },
  ],
};

const commands = (of: (vpref: string[]) => Subject[], times: number): Program[] =>
  of([]).map((_, index) => ({ rounds: times, subject: (checkout) => of(vprefOf(checkout))[index]! }));

const figures = ({ read }: Program, subject: Subject, run: Run): Figure[] =>
  read?.(run) ?? [{ task: subject.name, seconds: run.wall, cpuSeconds: run.cpu }];

const smallest = (values: number[]) => Math.min(...values);
const rounded = (value: number) => Number(value.toPrecision(4));
const mebibytes = (runs: Run[], key: 'peakBytes' | 'ownBytes') =>
  Math.round(Math.max(...runs.map((run) => run[key])) / 2 ** 20);

/** A row per figure: the smallest of each side, their ratio, and the least and largest ratio of a round. */
function rowsOf(program: Program, subjects: Subject[], [olds, news]: [Run[], Run[]]) {
  const all = [olds, news].map((runs, side) => runs.map((run) => figures(program, subjects[side]!, run)));
  return all[0]![0]!.map(({ task }, index) => {
    const of = (side: number, key: 'seconds' | 'cpuSeconds') => all[side]!.map((run) => run[index]![key]);
    const ratio = (key: 'seconds' | 'cpuSeconds') => rounded(smallest(of(1, key)) / smallest(of(0, key)));
    const ratios = of(1, 'seconds').map((seconds, round) => seconds / of(0, 'seconds')[round]!);
    return {
      task,
      rounds: program.rounds,
      old_seconds: rounded(smallest(of(0, 'seconds'))),
      seconds: rounded(smallest(of(1, 'seconds'))),
      ratio: ratio('seconds'),
      ratio_min: rounded(smallest(ratios)),
      ratio_max: rounded(Math.max(...ratios)),
      cpu_ratio: ratio('cpuSeconds'),
      old_peak_mib: mebibytes(olds, 'peakBytes'),
      peak_mib: mebibytes(news, 'peakBytes'),
      old_own_mib: mebibytes(olds, 'ownBytes'),
      own_mib: mebibytes(news, 'ownBytes'),
    };
  });
}

const oldCommit = execFileSync('git', ['rev-parse', '--short', 'HEAD'], { cwd: old, encoding: 'utf8' }).trim();
console.log(`| task | ${oldCommit}, s | now, s | now / then | in a round | processor time | peak, MiB | own, MiB |`);
console.log('|---|---|---|---|---|---|---|---|');
for (const name of flags.only.split(',')) {
  const make = programs[name];
  if (make === undefined) throw new Error(`--only: expected ${Object.keys(programs).join(', ')}, got ${name}`);
  for (const program of await make()) {
    const subjects = [program.subject(old), program.subject(root)];
    const [olds, news] = await takeTurns(subjects, program.rounds);
    for (const row of rowsOf(program, subjects, [olds!, news!])) {
      if (!flags.try) keep('turns', { ...row, old_commit: oldCommit });
      const cells = [row.task, row.old_seconds, row.seconds, row.ratio, `${row.ratio_min} to ${row.ratio_max}`];
      const memory = [`${row.old_peak_mib} : ${row.peak_mib}`, `${row.old_own_mib} : ${row.own_mib}`];
      console.log(`| ${[...cells, row.cpu_ratio, ...memory].join(' | ')} |`);
    }
  }
}
