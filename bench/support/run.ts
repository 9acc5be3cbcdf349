// SPDX-License-Identifier: Apache-2.0
// Runs commands alternately and compares them: wall time, processor time, peak memory.
import { execFileSync, spawn } from 'node:child_process';
import { appendFileSync, mkdirSync, readFileSync } from 'node:fs';
import { cpus, loadavg } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const root = fileURLToPath(new URL('../..', import.meta.url));
export const vpref = [process.execPath, join(root, 'bin/run.js')];

export interface Subject {
  name: string;
  argv: string[];
  /** Shell redirections; stdout goes to /dev/null. */
  stdin?: string;
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
  const runs = subjects.map(() => [] as Omit<Timing, 'name' | 'wallMedian'>[]);
  for (let repeat = 0; repeat < repeats; repeat++)
    for (const [index, subject] of subjects.entries()) runs[index]!.push(await runOnce(subject));
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

async function runOnce({ argv, stdin = '/dev/null' }: Subject) {
  const quoted = argv.map((word) => `'${word.replaceAll("'", "'\\''")}'`).join(' ');
  const script = `TIMEFORMAT='%R %U %S'; time ${quoted} <'${stdin}' >/dev/null 2>/dev/null`;
  const child = spawn('bash', ['-c', script], { stdio: ['ignore', 'ignore', 'pipe'] });
  let told = '';
  child.stderr.on('data', (chunk) => {
    told += chunk;
  });
  let peakBytes = 0;
  const poll = setInterval(() => {
    peakBytes = Math.max(peakBytes, peakOfChild(child.pid!));
  }, 20);
  const code = await new Promise((resolve) => child.on('close', resolve));
  clearInterval(poll);
  if (code !== 0) throw new Error(`${argv.join(' ')}: status ${code}`);
  const [wall, user, system] = told.trim().split('\n').at(-1)!.split(' ').map(Number) as [number, number, number];
  return { wall, cpu: user + system, peakBytes };
}

/** Peak resident size of the process below the shell. */
function peakOfChild(shell: number): number {
  try {
    const children = readFileSync(`/proc/${shell}/task/${shell}/children`, 'utf8').trim();
    const status = readFileSync(`/proc/${children.split(' ')[0]}/status`, 'utf8');
    return Number(/VmHWM:\s+(\d+)/.exec(status)?.[1] ?? 0) * 1024;
  } catch {
    return 0;
  }
}

/** Prints a row and appends it, with machine and commit, to bench/results/NAME.ndjson. */
export function report(bench: string, row: Record<string, unknown>): void {
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
  console.log(JSON.stringify(row));
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
