// SPDX-License-Identifier: Apache-2.0
// Lines out: stdout with back-pressure, or a file that appears when it is whole.
import {
  closeSync,
  constants,
  copyFileSync,
  existsSync,
  fsyncSync,
  openSync,
  renameSync,
  rmSync,
  statSync,
  truncateSync,
  writeSync,
} from 'node:fs';
import { dirname } from 'node:path';
import { RunError, UsageError } from '../records/error.ts';
import { BrokenPipeError, StoppedError } from './exit.ts';
import { type Done, type JournalEntry, journalPath, nothingDone, readDone } from './journal.ts';

/** Where a run writes. `push` buffers; await `ready` when it is there before pushing more. */
export interface Sink {
  /** What an earlier run left. */
  readonly done: Done;
  push(line: string): void;
  /** Notes rows of the output that resume must know more of than their ids. */
  note(entry: JournalEntry): void;
  /** A promise while the reader has to catch up. */
  readonly ready: Promise<void> | undefined;
  /** All is written: make it final. */
  finish(): Promise<void>;
  /** The run ends early: keep what is written. */
  save(): Promise<void>;
  /** The file that a saved run is gone on from. */
  readonly savedAs?: string | undefined;
}

const FLUSH_CHARS = 64 * 1024;

/** Rows gather until 64 Ki characters or until the pipe would wait, so a slow stage's rows go out one by one. */
abstract class BufferedSink {
  #lines: string[] = [];
  #chars = 0;
  #scheduled = false;

  push(line: string): void {
    this.#lines.push(line, '\n');
    this.#chars += line.length + 1;
    if (this.#chars >= FLUSH_CHARS) this.flush();
    else if (!this.#scheduled) {
      this.#scheduled = true;
      setImmediate(() => {
        this.#scheduled = false;
        this.flushIdle();
      });
    }
  }

  protected flush(): void {
    if (this.#lines.length === 0) return;
    const text = this.#lines.join('');
    this.#lines = [];
    this.#chars = 0;
    this.writeText(text);
  }

  protected abstract flushIdle(): void;
  protected abstract writeText(text: string): void;
}

/** Standard output. Its errors and its end are watched from the start of the process by watchStdout. */
export class StdoutSink extends BufferedSink implements Sink {
  readonly done = nothingDone();
  #ready: Promise<void> | undefined;
  #failure: unknown;

  get ready(): Promise<void> | undefined {
    if (this.#failure !== undefined) return Promise.reject(this.#failure);
    return this.#ready;
  }

  note(): void {}

  async finish(): Promise<void> {
    this.flush();
    await this.ready;
    await drainStdout();
  }

  async save(): Promise<void> {
    await this.finish();
  }

  protected flushIdle(): void {
    this.flush();
  }

  protected writeText(text: string): void {
    try {
      if (process.stdout.write(text)) return;
    } catch (cause) {
      this.#failure ??= stdoutError(cause);
      return;
    }
    this.#ready ??= stdoutEvent('drain').finally(() => {
      this.#ready = undefined;
    });
    // The failure is seen by whoever awaits `ready`; nobody may be awaiting it yet.
    this.#ready.catch(() => {});
  }
}

/** Waits until all that was written to stdout has reached its reader, however long that takes. */
export async function drainStdout(): Promise<void> {
  if (stdoutFailure !== undefined) throw stdoutFailure;
  await new Promise<void>((resolve, reject) => {
    process.stdout.write('', (error) => (error ? reject(stdoutError(error)) : resolve()));
  });
}

let stdoutFailure: Error | undefined;
const stdoutListeners = new Set<(error: Error) => void>();

/** Turns stdout's errors into what waits on it; a closed reader ends the process quietly. */
export function watchStdout(onBrokenPipe: () => void): void {
  // oclif's own listener swallows EPIPE and would let a run go on unread.
  process.stdout.removeAllListeners('error');
  process.stdout.on('error', (cause) => {
    stdoutFailure ??= stdoutError(cause);
    if (stdoutFailure instanceof BrokenPipeError) onBrokenPipe();
    for (const listener of stdoutListeners) listener(stdoutFailure);
  });
}

function stdoutEvent(name: 'drain'): Promise<void> {
  return new Promise((resolve, reject) => {
    if (stdoutFailure !== undefined) return reject(stdoutFailure);
    const settle = (error?: Error) => {
      process.stdout.off(name, settle);
      stdoutListeners.delete(settle);
      if (error) reject(error);
      else resolve();
    };
    process.stdout.once(name, settle);
    stdoutListeners.add(settle);
  });
}

function stdoutError(cause: unknown): Error {
  const error = cause as NodeJS.ErrnoException;
  if (error.code === 'EPIPE') return new BrokenPipeError('stdout: its reader has closed it');
  if (isDiskFull(error)) return new RunError('disk-full', 'stdout: no space left on device', { cause });
  return new RunError('write-failed', `stdout: cannot be written: ${error.message}`, { cause });
}

function isDiskFull(error: NodeJS.ErrnoException): boolean {
  return error.code === 'ENOSPC' || error.code === 'EDQUOT' || error.code === 'EFBIG';
}

export interface FileSinkOptions {
  path: string;
  resume: boolean;
  /** What the output depends on; a resumed run must have the same. */
  settings: Record<string, unknown>;
}

// Rows of tables are few and cheap to make again: no journal, no resume.
const NO_JOURNAL = -1;

/** FILE.partial, renamed to FILE when it is whole; FILE.journal holds what its rows do not say. */
export class FileSink extends BufferedSink implements Sink {
  readonly done: Done;
  readonly ready = undefined;
  readonly #path: string;
  readonly #partial: string;
  readonly #fd: number;
  readonly #journalFd: number;
  #journal = '';
  #isEmpty: boolean;
  #failure: unknown;

  private constructor(path: string, done: Done, header: string | undefined) {
    super();
    this.#path = path;
    this.#partial = `${path}.partial`;
    this.done = done;
    this.#isEmpty = done.rows === 0 && done.journalBytes === 0;
    this.#fd = openSync(this.#partial, 'a');
    this.#journalFd = header === undefined ? NO_JOURNAL : openSync(journalPath(path), 'a');
    if (header !== undefined && done.journalBytes === 0) this.#journal = `${header}\n`;
  }

  /** Throws UsageError when FILE cannot be written, or an unfinished one is in the way. */
  static async open({ path, resume, settings }: FileSinkOptions): Promise<FileSink> {
    const partial = `${path}.partial`;
    checkOutputPath(path);
    const left = statSync(partial, { throwIfNoEntry: false });
    if (left !== undefined && left.size > 0 && !resume)
      throw new UsageError(`${partial}: an earlier run has left it unfinished: go on with --resume, or delete it`);
    if (!resume || left === undefined) {
      rmSync(partial, { force: true });
      rmSync(journalPath(path), { force: true });
      // A finished file is a beginning too: the input may have grown.
      if (resume && existsSync(path)) copyFileSync(path, partial, constants.COPYFILE_FICLONE);
    }
    const done = resume ? await readDone(path, partial, settings) : nothingDone();
    if (existsSync(partial)) truncateSync(partial, done.bytes);
    if (existsSync(journalPath(path))) truncateSync(journalPath(path), done.journalBytes);
    return new FileSink(path, done, JSON.stringify({ journal: 1, settings }));
  }

  /** A file without journal, made anew. Throws UsageError when it cannot be written. */
  static openTable(path: string): FileSink {
    checkOutputPath(path);
    rmSync(`${path}.partial`, { force: true });
    return new FileSink(path, nothingDone(), undefined);
  }

  get savedAs(): string | undefined {
    return this.#journalFd === NO_JOURNAL || this.#isEmpty ? undefined : this.#partial;
  }

  note(entry: JournalEntry): void {
    this.#journal += `${JSON.stringify(entry)}\n`;
    this.#isEmpty = false;
  }

  override push(line: string): void {
    if (this.#failure !== undefined) throw this.#failure;
    super.push(line);
    this.#isEmpty = false;
  }

  async finish(): Promise<void> {
    this.flush();
    this.#guard(() => fsyncSync(this.#fd));
    this.#close();
    renameSync(this.#partial, this.#path);
    rmSync(journalPath(this.#path), { force: true });
    syncDirectory(dirname(this.#path));
  }

  async save(): Promise<void> {
    // A full disk has been told already.
    if (this.#failure === undefined) this.flush();
    this.#close();
    if (!this.#isEmpty && this.#journalFd !== NO_JOURNAL) return;
    rmSync(this.#partial, { force: true });
    rmSync(journalPath(this.#path), { force: true });
  }

  // Rows of the journal go first: resume may find more there than in FILE.partial, never less.
  protected override flush(): void {
    const entries = this.#journal;
    this.#journal = '';
    if (entries !== '' && this.#journalFd !== NO_JOURNAL) this.#guard(() => writeAll(this.#journalFd, entries));
    super.flush();
  }

  protected flushIdle(): void {
    if (this.#failure !== undefined) return;
    try {
      this.flush();
    } catch (error) {
      this.#failure = error;
    }
  }

  protected writeText(text: string): void {
    this.#guard(() => writeAll(this.#fd, text));
  }

  #guard(write: () => void): void {
    if (this.#failure !== undefined) throw this.#failure;
    try {
      write();
    } catch (cause) {
      this.#failure = this.#explain(cause as NodeJS.ErrnoException);
      throw this.#failure;
    }
  }

  #explain(cause: NodeJS.ErrnoException): RunError {
    const saved = this.#journalFd === NO_JOURNAL ? '' : `; ${this.#partial} is saved: run again with --resume`;
    return isDiskFull(cause)
      ? new RunError('disk-full', `${this.#path}: no space left on device${saved}`, { cause })
      : new RunError('write-failed', `${this.#path}: cannot be written: ${cause.message}${saved}`, { cause });
  }

  #close(): void {
    closeSync(this.#fd);
    if (this.#journalFd !== NO_JOURNAL) closeSync(this.#journalFd);
  }
}

/** A device, pipe or socket named by -o: written as it is, with nothing to rename. */
export class DeviceSink extends BufferedSink implements Sink {
  readonly done = nothingDone();
  readonly ready = undefined;
  readonly #path: string;
  readonly #fd: number;
  #failure: unknown;

  constructor(path: string) {
    super();
    this.#path = path;
    this.#fd = openSync(path, 'w');
  }

  note(): void {}

  override push(line: string): void {
    if (this.#failure !== undefined) throw this.#failure;
    super.push(line);
  }

  async finish(): Promise<void> {
    this.flush();
    closeSync(this.#fd);
  }

  async save(): Promise<void> {
    if (this.#failure === undefined) await this.finish();
  }

  protected flushIdle(): void {
    try {
      this.flush();
    } catch (error) {
      this.#failure = error;
    }
  }

  protected writeText(text: string): void {
    if (this.#failure !== undefined) throw this.#failure;
    try {
      writeAll(this.#fd, text);
    } catch (cause) {
      const error = cause as NodeJS.ErrnoException;
      const why = isDiskFull(error) ? 'no space left on device' : `cannot be written: ${error.message}`;
      throw error.code === 'EPIPE'
        ? new BrokenPipeError(`${this.#path}: its reader has closed it`)
        : new RunError('write-failed', `${this.#path}: ${why}`, { cause });
    }
  }
}

/** The sink that -o asks for. */
export async function openSink(
  path: string | undefined,
  resume: boolean,
  settings: Record<string, unknown>,
): Promise<Sink> {
  if (path === undefined || path === '-') {
    if (resume) throw new UsageError('--resume: expected -o FILE to go on with');
    return new StdoutSink();
  }
  const stats = statSync(path, { throwIfNoEntry: false });
  if (stats !== undefined && !stats.isFile() && !stats.isDirectory()) return new DeviceSink(path);
  return FileSink.open({ path, resume, settings });
}

/** The sink of rows that are no records. */
export function openTableSink(path: string | undefined): Sink {
  if (path === undefined || path === '-') return new StdoutSink();
  const stats = statSync(path, { throwIfNoEntry: false });
  return stats !== undefined && !stats.isFile() && !stats.isDirectory()
    ? new DeviceSink(path)
    : FileSink.openTable(path);
}

function checkOutputPath(path: string): void {
  if (statSync(path, { throwIfNoEntry: false })?.isDirectory())
    throw new UsageError(`-o ${path}: expected a file, got a directory`);
  if (!statSync(dirname(path), { throwIfNoEntry: false })?.isDirectory())
    throw new UsageError(`-o ${path}: expected a file in a directory that exists, got ${dirname(path)}`);
}

function writeAll(fd: number, text: string): void {
  const bytes = Buffer.from(text);
  for (let written = 0; written < bytes.length; ) written += writeSync(fd, bytes, written);
}

// After a crash of the machine the rename must not be lost; some file systems cannot, and say so.
function syncDirectory(path: string): void {
  try {
    const fd = openSync(path, 'r');
    fsyncSync(fd);
    closeSync(fd);
  } catch {}
}

/** The error that a stop request asks for, naming what can be gone on with. */
export function stoppedError(reason: unknown, savedAs: string | undefined): StoppedError {
  const { signal } = reason as StoppedError;
  return new StoppedError(
    signal,
    `stopped by ${signal}${savedAs === undefined ? '' : `; ${savedAs} is saved: run again with --resume`}`,
  );
}
