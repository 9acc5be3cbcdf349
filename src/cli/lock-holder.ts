// SPDX-License-Identifier: Apache-2.0
// The holder of a lock: its process and machine, and whether it still runs.
import { readFileSync, readlinkSync } from 'node:fs';
import { hostname } from 'node:os';
import { RunError } from '../records/error.ts';
import { isObject } from '../records/field.ts';

/** The holder of a lock, from its file. */
export interface Holder {
  command: string;
  host: string;
  pid: number;
  /** Start of the process in kernel ticks, because process numbers are reused. */
  start?: string;
  /** Boot id and PID namespace of the holder; if both are ours, its process can be looked up. */
  machine?: string;
  since: string;
  /** A requeued Slurm job keeps its number, and its earlier start has ended. */
  job?: string;
  restart?: number;
  token: string;
}

/** Undefined without a lock. An unreadable lock counts as held. */
export function readHolder(path: string): Holder | undefined {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw new RunError('locked', `${path}: cannot be read: ${(cause as Error).message}`, { cause });
  }
  try {
    const holder: unknown = JSON.parse(text);
    if (isObject(holder) && typeof holder.token === 'string') return holder as unknown as Holder;
  } catch {}
  return { command: 'a run', host: 'an unknown host', pid: 0, since: 'an unknown time', token: text };
}

/** This process as a holder of `command`. */
export function ownHolder(command: string, env: NodeJS.ProcessEnv): Holder {
  const { SLURM_JOB_ID: job, SLURM_CLUSTER_NAME: cluster = '', SLURM_RESTART_COUNT: restart = '0' } = env;
  const start = processStart(process.pid);
  const machine = ownMachine();
  return {
    command,
    host: hostname(),
    pid: process.pid,
    ...(typeof start === 'string' && { start }),
    ...(machine !== undefined && { machine }),
    since: new Date().toISOString(),
    ...(job !== undefined && { job: `${cluster}/${job}`, restart: Number(restart) }),
    token: crypto.randomUUID(),
  };
}

function ownMachine(): string | undefined {
  try {
    return `${readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()} ${readlinkSync('/proc/self/ns/pid')}`;
  } catch {
    return undefined;
  }
}

/** Start of a process; undefined if the system does not report it; null for an ended process. */
function processStart(pid: number): string | null | undefined {
  if (ownMachine() === undefined) return undefined;
  try {
    // The name in parentheses may contain any character; the state is the next field, the start the 20th.
    const fields = readFileSync(`/proc/${pid}/stat`, 'utf8')
      .replace(/^.*\) /s, '')
      .split(' ');
    return fields[0] === 'Z' || fields[0] === 'X' ? null : fields[19];
  } catch {
    return null;
  }
}

/** Valid only for a holder on this machine. */
export function isRunning({ pid, start }: Holder): boolean {
  const began = processStart(pid);
  if (began !== undefined) return began !== null && (start === undefined || began === start);
  try {
    process.kill(pid, 0);
    return true;
  } catch (cause) {
    return (cause as NodeJS.ErrnoException).code !== 'ESRCH';
  }
}

/** Whether the holder is a process of this machine. */
export function isHere(found: Holder, own: Holder): boolean {
  if (found.machine !== undefined && own.machine !== undefined) return found.machine === own.machine;
  return found.machine === own.machine && found.host === own.host && found.pid > 0;
}

export function describeHolder({ command, host, pid, since }: Holder): string {
  return `${command}, process ${pid} on ${host}, since ${since}`;
}
