// SPDX-License-Identifier: Apache-2.0
// Runs commands alternately and compares them: wall time, processor time, peak memory.
import { execFileSync, spawn } from 'node:child_process';
import { appendFileSync, mkdirSync, readFileSync } from 'node:fs';
import { cpus, loadavg } from 'node:os';
import { join } from 'node:path';
import { text as textOf } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';

export const root = fileURLToPath(new URL('../..', import.meta.url));
export const vprefOf = (checkout: string) => [process.execPath, join(checkout, 'bin/run.js')];
export const vpref = vprefOf(root);

export interface Subject {
  name: string;
  argv: string[];
  /** A file; stdout goes to /dev/null. */
  stdin?: string;
  /** Whether the run has what the program prints. */
  readsOutput?: boolean;
}

/** One run of a subject. */
export interface Run {
  /** Seconds. */
  wall: number;
  cpu: number;
  /** Largest resident size, and the largest part of it that is no file's: what the process itself allocated. */
  peakBytes: number;
  ownBytes: number;
  output: string;
}

export interface Timing {
  name: string;
  /** Seconds. On a shared machine the smallest time is the most meaningful. */
  wall: number;
  wallMedian: number;
  cpu: number;
  peakBytes: number;
}

/** Each subject `repeats` times, alternating, so other load affects all equally. */
export async function compare(subjects: Subject[], repeats: number): Promise<Timing[]> {
  const runs = await takeTurns(subjects, repeats);
  return subjects.map(({ name }, index) => {
    const of = (key: 'wall' | 'cpu' | 'peakBytes') => runs[index]!.map((run) => run[key]).sort((a, b) => a - b);
    const walls = of('wall');
    return {
      name,
      wall: walls[0]!,
      wallMedian: walls[walls.length >> 1]!,
      cpu: of('cpu')[0]!,
      peakBytes: of('peakBytes').at(-1)!,
    };
  });
}

/** The runs of each subject, in order of the rounds. */
export async function takeTurns(subjects: Subject[], repeats: number): Promise<Run[][]> {
  const runs = subjects.map(() => [] as Run[]);
  for (let repeat = 0; repeat < repeats; repeat++)
    for (const [index, subject] of subjects.entries()) runs[index]!.push(await runOnce(subject));
  return runs;
}

async function runOnce({ argv, stdin = '/dev/null', readsOutput = false }: Subject): Promise<Run> {
  const quoted = argv.map((word) => `'${word.replaceAll("'", "'\\''")}'`).join(' ');
  const script = `TIMEFORMAT='%R %U %S'; time ${quoted} <'${stdin}' ${readsOutput ? '' : '>/dev/null'} 2>/dev/null`;
  const child = spawn('bash', ['-c', script], { stdio: ['ignore', readsOutput ? 'pipe' : 'ignore', 'pipe'] });
  const times = textOf(child.stderr!);
  const output = readsOutput ? textOf(child.stdout!) : '';
  let peakBytes = 0;
  let ownBytes = 0;
  const poll = setInterval(() => {
    const memory = memoryOfChild(child.pid!);
    peakBytes = Math.max(peakBytes, memory.peak);
    ownBytes = Math.max(ownBytes, memory.own);
  }, 20);
  const code = await new Promise((resolve) => child.on('close', resolve));
  clearInterval(poll);
  if (code !== 0) throw new Error(`${argv.join(' ')}: status ${code}`);
  const [wall, user, system] = (await times).trim().split('\n').at(-1)!.split(' ').map(Number) as number[];
  return { wall: wall!, cpu: user! + system!, peakBytes, ownBytes, output: await output };
}

/** Of the process below the shell, in bytes: its peak resident size, and its anonymous part now. */
function memoryOfChild(shell: number): { peak: number; own: number } {
  try {
    const children = readFileSync(`/proc/${shell}/task/${shell}/children`, 'utf8').trim();
    const status = readFileSync(`/proc/${children.split(' ')[0]}/status`, 'utf8');
    const bytes = (field: string) => Number(new RegExp(`${field}:\\s+(\\d+)`).exec(status)?.[1] ?? 0) * 1024;
    return { peak: bytes('VmHWM'), own: bytes('RssAnon') };
  } catch {
    return { peak: 0, own: 0 };
  }
}

/** Prints a row and appends it to the results. */
export function report(bench: string, row: Record<string, unknown>): void {
  keep(bench, row);
  console.log(JSON.stringify(row));
}

/** Appends a row, with machine and commit, to bench/results/NAME.ndjson. */
export function keep(bench: string, row: Record<string, unknown>): void {
  const git = (...args: string[]) => execFileSync('git', args, { cwd: root, encoding: 'utf8' }).trim();
  const where = {
    cpu: cpus()[0]?.model,
    cores: cpus().length,
    load: Number(loadavg()[0]!.toFixed(1)),
    node: process.version,
    commit: git('rev-parse', '--short', 'HEAD'),
  };
  mkdirSync(join(root, 'bench/results'), { recursive: true });
  appendFileSync(join(root, `bench/results/${bench}.ndjson`), `${JSON.stringify({ bench, ...row, ...where })}\n`);
}

/** Whether a command is installed. */
export function has(command: string): boolean {
  try {
    execFileSync('bash', ['-c', `command -v ${command}`], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}
