// SPDX-License-Identifier: Apache-2.0
// Image files that a stage writes: each appears complete or not at all, and leftovers of killed runs are removed.
import { closeSync, fsyncSync, openSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { threadId } from 'node:worker_threads';
import { RunError } from '../records/error.ts';

const HOST = hostname().replace(/[^A-Za-z0-9-]/g, '_');

/** Writes a temporary file, syncs, then renames. Throws RunError{"write"}. */
export function writePicture(path: string, bytes: Uint8Array): void {
  const partial = join(dirname(path), `.${basename(path).slice(0, 120)}.${HOST}-${process.pid}-${threadId}.partial`);
  try {
    const fd = openSync(partial, 'w');
    try {
      writeFileSync(fd, bytes);
      fsyncSync(fd);
    } finally {
      closeSync(fd);
    }
    renameSync(partial, path);
  } catch (cause) {
    rmSync(partial, { force: true });
    throw new RunError('write', `${path}: cannot be written: ${(cause as Error).message}`, { cause });
  }
}

/** Removes temporary files of ended processes of this machine. Those of other machines may be in use. */
export function clearLeftovers(folder: string): void {
  for (const name of readdirSync(folder)) {
    const [, host, pid] = /^\..*\.([^.]+)-(\d+)-\d+\.partial$/.exec(name) ?? [];
    if (host === HOST && !isRunning(Number(pid))) rmSync(join(folder, name), { force: true });
  }
}

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (cause) {
    return (cause as NodeJS.ErrnoException).code !== 'ESRCH';
  }
}
