// SPDX-License-Identifier: Apache-2.0
// One writer per output: a lock file with the writer's identity. It is created by link(2), which is atomic on NFS too. A holder on this machine is checked by
// its process, one on another machine by its heartbeat. (proper-lockfile stores neither host nor process: a killed run would block the next one until a
// timeout, it compares ages between clocks of two machines, and it removes a stale lock in two steps, between which a third process may take it.)
import {
  closeSync,
  fdatasync,
  fstatSync,
  linkSync,
  mkdirSync,
  openSync,
  readdirSync,
  renameSync,
  rmdirSync,
  rmSync,
  write,
  writeSync,
} from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { RunError, UsageError } from '../records/error.ts';
import { describeHolder, type Holder, isHere, isRunning, ownHolder, readHolder } from './lock-holder.ts';

export interface LockOptions {
  /** The command, such as "vpref sample". */
  command: string;
  /** Start of the message: "-o out.ndjson". */
  subject: string;
  note?: (message: string) => void;
  /** A holder on another machine counts as ended after this time without heartbeat. */
  staleMs?: number;
  env?: NodeJS.ProcessEnv;
}

const STALE_MS = 90_000;
const BEATS = 9;
const POLL_MS = 500;

/** The lock of a file, or of a folder to be created: beside it. */
export function lockBeside(path: string): string {
  return join(dirname(path), `.${basename(path)}.lock`);
}

/** The lock of an existing folder: inside it. */
export function lockInside(folder: string): string {
  return join(folder, '.lock');
}

export class OutputLock {
  readonly #path: string;
  readonly #token: string;
  readonly #fd: number;
  readonly #subject: string;
  readonly #staleMs: number;
  #timer: NodeJS.Timeout | undefined;
  #seen = Date.now();
  #isReleased = false;
  /** The lock belonged to a process on another machine, which may still run: do not write to files that it has open. */
  readonly isFromElsewhere: boolean;

  private constructor(path: string, made: Made, { subject, staleMs = STALE_MS }: LockOptions) {
    this.#path = path;
    this.#token = made.holder.token;
    this.#fd = made.fd;
    this.isFromElsewhere = made.isFromElsewhere;
    this.#subject = subject;
    this.#staleMs = staleMs;
  }

  /** Takes the lock; takes over that of an ended holder. Throws RunError{"locked"} with the holder. */
  static async take(path: string, options: LockOptions): Promise<OutputLock> {
    const lock = new OutputLock(path, await take(path, options), options);
    lock.#timer = globalThis.setInterval(() => lock.#beat(), lock.#staleMs / BEATS);
    lock.#timer.unref();
    return lock;
  }

  /** Throws RunError{"locked"} if another process took the lock over. Checks only if that is possible, unless forced. */
  check({ now = false } = {}): void {
    if (!now && Math.abs(Date.now() - this.#seen) < this.#staleMs / 3) return;
    const holder = readHolder(this.#path);
    if (holder?.token === this.#token) {
      this.#seen = Date.now();
      return;
    }
    const by = holder === undefined ? 'its lock was removed' : `it was taken over by ${describeHolder(holder)}`;
    throw new RunError('locked', `${this.#subject}: no longer held by this run: ${by}; writing stopped`);
  }

  release(): void {
    if (this.#isReleased) return;
    this.#isReleased = true;
    clearInterval(this.#timer);
    closeSync(this.#fd);
    if (readHolder(this.#path)?.token === this.#token) rmSync(this.#path, { force: true });
  }

  // Write, instead of setting the time: then the file server sets it, from one clock for all machines.
  #beat(): void {
    write(this.#fd, '{', 0, (error) => {
      if (error === null && !this.#isReleased) fdatasync(this.#fd, () => undefined);
    });
  }
}

/** Creates the folder if missing; `undo` removes it again while it is empty. */
export function makeLockedFolder(folder: string): { undo(): void } {
  let first: string | undefined;
  try {
    first = mkdirSync(folder, { recursive: true });
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException;
    throw new UsageError(`-o ${folder}: expected a directory, got ${code === 'EEXIST' ? 'a file' : message}`, {
      cause,
    });
  }
  const undo = () => {
    try {
      if (first !== undefined) rmdirSync(folder);
    } catch {}
  };
  return { undo };
}

interface Made {
  holder: Holder;
  fd: number;
  isFromElsewhere: boolean;
}

async function take(path: string, options: LockOptions): Promise<Made> {
  const holder = ownHolder(options.command, options.env ?? process.env);
  for (;;) {
    const made = create(path, holder, options.subject);
    if (made !== undefined) {
      clearAsides(path, holder);
      return { ...made, isFromElsewhere: false };
    }
    const found = readHolder(path);
    if (found === undefined) continue;
    const gone = await isGone(path, found, holder, options);
    if (gone === 'no') throw heldError(path, found, holder, options);
    if (gone === 'released') continue;
    const replaced = await replace(path, found, holder, options);
    if (replaced !== undefined) {
      clearAsides(path, holder);
      return { ...replaced, isFromElsewhere: gone === 'elsewhere' };
    }
  }
}

// If several processes find a stale lock, one replaces it: under a second lock, and only the lock that it examined.
async function replace(path: string, found: Holder, holder: Holder, options: LockOptions) {
  const guard = await take(`${path}.next`, options);
  try {
    if (readHolder(path)?.token !== found.token) return undefined;
    const aside = asideOf(path);
    const fd = writeHolder(aside, holder, options.subject);
    renameSync(aside, path);
    return { holder, fd };
  } finally {
    closeSync(guard.fd);
    rmSync(`${path}.next`, { force: true });
  }
}

/** Undefined if there is already a lock. */
function create(path: string, holder: Holder, subject: string): Omit<Made, 'isFromElsewhere'> | undefined {
  const aside = asideOf(path);
  const fd = writeHolder(aside, holder, subject);
  try {
    linkSync(aside, path);
    return { holder, fd };
  } catch (cause) {
    closeSync(fd);
    const { code, message } = cause as NodeJS.ErrnoException;
    if (code === 'EEXIST') return undefined;
    if (code !== undefined && NO_LINKS.has(code)) return createExclusively(path, holder);
    throw new RunError('write-failed', `${subject}: cannot be written: ${message}`, { cause });
  } finally {
    rmSync(aside, { force: true });
  }
}

// File systems without hard links (FAT, some of FUSE).
const NO_LINKS = new Set(['EPERM', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS', 'EMLINK']);

function createExclusively(path: string, holder: Holder): Omit<Made, 'isFromElsewhere'> | undefined {
  try {
    const fd = openSync(path, 'wx+');
    writeSync(fd, JSON.stringify(holder));
    return { holder, fd };
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'EEXIST') return undefined;
    throw cause;
  }
}

function asideOf(path: string): string {
  return `${path}.${crypto.randomUUID().slice(-12)}`;
}

// Leftovers of processes of this machine that were killed between writing their identity and linking it.
function clearAsides(path: string, own: Holder): void {
  const start = `${basename(path)}.`;
  for (const name of readdirSync(dirname(path))) {
    if (!name.startsWith(start) || !/^[0-9a-f]{12}$/.test(name.slice(start.length))) continue;
    const aside = join(dirname(path), name);
    const holder = readHolder(aside);
    if (holder !== undefined && isHere(holder, own) && !isRunning(holder)) rmSync(aside, { force: true });
  }
}

function writeHolder(path: string, holder: Holder, subject: string): number {
  try {
    const fd = openSync(path, 'wx+');
    writeSync(fd, JSON.stringify(holder));
    return fd;
  } catch (cause) {
    throw new RunError('write-failed', `${subject}: cannot be written: ${(cause as Error).message}`, { cause });
  }
}

type Gone = 'no' | 'here' | 'elsewhere' | 'released';

async function isGone(path: string, found: Holder, own: Holder, options: LockOptions): Promise<Gone> {
  if (isHere(found, own)) return isRunning(found) ? 'no' : 'here';
  if (own.job !== undefined && found.job === own.job && (found.restart ?? 0) < own.restart!) return 'elsewhere';
  const { staleMs = STALE_MS, subject, note } = options;
  const first = timeOf(path);
  const now = serverTime(path, subject);
  if (first === undefined) return 'released';
  for (let age = Math.max(0, now - first), isSaid = false; age < staleMs; age += POLL_MS) {
    if (!isSaid)
      note?.(
        `${subject}: held by ${describeHolder(found)}: waiting up to ${Math.ceil(staleMs / 1000)} s for its heartbeat`,
      );
    isSaid = true;
    await setTimeout(Math.min(POLL_MS, staleMs));
    const time = timeOf(path);
    if (time === undefined) return 'released';
    if (time !== first) return 'no';
  }
  return 'elsewhere';
}

/** When the file was last written. Opens it, because NFS answers a plain stat from its cache. */
function timeOf(path: string): number | undefined {
  try {
    const fd = openSync(path, 'r');
    try {
      return fstatSync(fd).mtimeMs;
    } finally {
      closeSync(fd);
    }
  } catch {
    return undefined;
  }
}

/** The current time of the file server's clock. */
function serverTime(path: string, subject: string): number {
  const aside = asideOf(path);
  try {
    const fd = writeHolder(aside, { token: '' } as Holder, subject);
    closeSync(fd);
    return timeOf(aside) ?? Date.now();
  } finally {
    rmSync(aside, { force: true });
  }
}

function heldError(path: string, found: Holder, own: Holder, { subject }: LockOptions): RunError {
  const hint = isHere(found, own) ? '' : `, or delete ${path} if that process is gone`;
  return new RunError(
    'locked',
    `${subject}: is being written by ${describeHolder(found)}: wait until it ends${hint}, or choose another -o`,
  );
}
