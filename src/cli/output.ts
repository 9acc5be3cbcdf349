// SPDX-License-Identifier: Apache-2.0
// Lines out: stdout with back-pressure, or a file that appears when it is whole.
import {
  closeSync,
  constants,
  copyFileSync,
  existsSync,
  fsyncSync,
  ftruncateSync,
  openSync,
  renameSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { dirname } from 'node:path';
import { RunError, UsageError } from '../records/error.ts';
import { BrokenPipeError, StoppedError } from './exit.ts';
import { type Done, JOURNAL_VERSION, type JournalEntry, journalPath, nothingDone, readDone } from './journal.ts';
import { KeptLines } from './kept-lines.ts';
import type { OutputLock } from './lock.ts';
import {
  checkFinished,
  type Extent,
  extended,
  NOTHING,
  type Settings,
  settingsPath,
  writeSettings,
} from './settings-file.ts';

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
class StdoutSink extends BufferedSink implements Sink {
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
  /** Nobody asked for --resume, Slurm started the job again: a finished FILE that is of another run is written over, as at the first start. */
  isRestart?: boolean;
  /** All rows are made at once: leave what an earlier run began, and save nothing unfinished. */
  anew?: boolean;
  /** What the output depends on; a resumed run must have the same. */
  settings: Settings;
  /** Held by this run: looked at before anything is written. */
  lock?: OutputLock | undefined;
}

/** What becomes of a table that is not finished. */
export interface TableOptions {
  /** Rows can be gone on with: an unfinished file is kept. */
  resumable?: boolean;
  resume?: boolean;
  lock?: OutputLock | undefined;
}

// Rows of tables have no ids: none is noted, and resume makes them again.
const NO_JOURNAL = -1;

interface FileSinkState {
  path: string;
  done: Done;
  /** Those of rows with ids, which have a journal. */
  settings?: Settings;
  kept?: KeptLines | undefined;
  /** Kept when the run ends early. */
  isSaved: boolean;
  lock?: OutputLock | undefined;
}

/** FILE.partial, renamed to FILE when it is whole; FILE.journal holds what its rows do not say. */
export class FileSink extends BufferedSink implements Sink {
  readonly ready = undefined;
  readonly #state: FileSinkState;
  readonly #partial: string;
  readonly #fd: number;
  readonly #journalFd: number;
  #journal = '';
  #extent: Extent;
  #isCut = false;
  #isClosed = false;
  #isEmpty: boolean;
  #failure: unknown;

  private constructor(state: FileSinkState) {
    super();
    this.#state = state;
    const { path, done, settings, kept } = state;
    this.#partial = `${path}.partial`;
    this.#extent = done.extent;
    this.#isEmpty = done.rows === 0 && done.journalBytes === 0 && (kept?.bytes ?? 0) === 0;
    this.#fd = openSync(this.#partial, 'a');
    this.#journalFd = settings === undefined ? NO_JOURNAL : openSync(journalPath(path), 'a');
    if (settings !== undefined)
      this.#journal = done.journalBytes === 0 ? journalHeader(settings, NOTHING) : `${JSON.stringify(done.extent)}\n`;
  }

  /** Throws UsageError when FILE cannot be written, or an unfinished one is in the way. */
  static async open(options: FileSinkOptions): Promise<FileSink> {
    const { path, resume, anew = false, settings, lock } = options;
    const partial = `${path}.partial`;
    const isBegun = beginPartial(path, { resume, anew });
    if (resume && !isBegun && existsSync(path)) await beginWithFinished(options);
    if (resume && lock?.isFromElsewhere) for (const file of [partial, journalPath(path)]) moveToCopy(file);
    const done = resume ? await readDone(path, partial, settings) : nothingDone();
    if (existsSync(partial)) truncateSync(partial, done.extent.bytes);
    if (existsSync(journalPath(path))) truncateSync(journalPath(path), done.journalBytes);
    return new FileSink({ path, done, settings, isSaved: !anew, lock });
  }

  /** A file without journal. Throws UsageError when it cannot be written. */
  static openTable(path: string, { resumable = false, resume = false, lock }: TableOptions = {}): FileSink {
    const partial = `${path}.partial`;
    const isBegun = beginPartial(path, { resume, anew: !resumable });
    if (resume && isBegun && lock?.isFromElsewhere) moveToCopy(partial);
    // A finished file is a beginning too: the input may have grown.
    if (resume && !isBegun && existsSync(path)) copyWhole(path, partial);
    const kept = resume && existsSync(partial) ? new KeptLines(partial) : undefined;
    return new FileSink({ path, done: nothingDone(), kept, isSaved: resumable, lock });
  }

  get done(): Done {
    return this.#state.done;
  }

  get savedAs(): string | undefined {
    return this.#state.isSaved && !this.#isEmpty ? this.#partial : undefined;
  }

  note(entry: JournalEntry): void {
    this.#journal += `${JSON.stringify(entry)}\n`;
    this.#isEmpty = false;
  }

  override push(line: string): void {
    if (this.#failure !== undefined) throw this.#failure;
    if (this.#state.kept?.has(line)) return;
    this.#cutTornEnd();
    super.push(line);
    this.#isEmpty = false;
  }

  async finish(): Promise<void> {
    const { path, kept, settings, lock } = this.#state;
    kept?.checkAll();
    this.#cutTornEnd();
    this.flush();
    this.#guard(() => {
      fsyncSync(this.#fd);
      lock?.check({ now: true });
      this.#close();
      if (settings === undefined) rmSync(settingsPath(path), { force: true });
      else writeSettings(path, settings, this.#extent);
      renameSync(this.#partial, path);
    });
    rmSync(journalPath(path), { force: true });
    syncDirectory(dirname(path));
  }

  async save(): Promise<void> {
    try {
      // A full disk has been told already.
      if (this.#failure === undefined && !this.#isClosed) this.flush();
    } finally {
      this.#close();
      if ((this.#isEmpty || !this.#state.isSaved) && !isLost(this.#failure)) {
        rmSync(this.#partial, { force: true });
        rmSync(journalPath(this.#state.path), { force: true });
      }
    }
  }

  // Rows of the journal go first: resume may find more there than in FILE.partial, never less.
  protected override flush(): void {
    super.flush();
    this.#writeJournal();
  }

  protected flushIdle(): void {
    if (this.#failure !== undefined || this.#isClosed) return;
    try {
      this.flush();
    } catch (error) {
      this.#failure = error;
    }
  }

  protected writeText(text: string): void {
    const bytes = Buffer.from(text);
    if (this.#journalFd !== NO_JOURNAL) {
      this.#extent = extended(this.#extent, bytes);
      this.#journal += `${JSON.stringify(this.#extent)}\n`;
    }
    this.#writeJournal();
    this.#guard(() => writeAll(this.#fd, bytes));
  }

  #writeJournal(): void {
    const entries = this.#journal;
    this.#journal = '';
    if (entries !== '' && this.#journalFd !== NO_JOURNAL)
      this.#guard(() => writeAll(this.#journalFd, Buffer.from(entries)));
  }

  #guard(write: () => void): void {
    if (this.#failure !== undefined) throw this.#failure;
    try {
      this.#state.lock?.check();
      write();
    } catch (cause) {
      this.#failure = this.#explain(cause as NodeJS.ErrnoException);
      throw this.#failure;
    }
  }

  #explain(cause: NodeJS.ErrnoException): Error {
    if (isLost(cause)) return cause;
    const { path, isSaved } = this.#state;
    const saved = !isSaved ? '' : `; ${this.#partial} is saved: run again with --resume`;
    return isDiskFull(cause)
      ? new RunError('disk-full', `${path}: no space left on device${saved}`, { cause })
      : new RunError('write-failed', `${path}: cannot be written: ${cause.message}${saved}`, { cause });
  }

  /** Not before the file is known to be this run's. */
  #cutTornEnd(): void {
    const { kept } = this.#state;
    if (kept === undefined || this.#isCut) return;
    ftruncateSync(this.#fd, kept.bytes);
    this.#isCut = true;
  }

  #close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    closeSync(this.#fd);
    this.#state.kept?.close();
    if (this.#journalFd !== NO_JOURNAL) closeSync(this.#journalFd);
  }
}

/** The output is another run's now: what is there is not this one's to tidy up. */
function isLost(error: unknown): boolean {
  return error instanceof RunError && error.code === 'locked';
}

/** A device, pipe or socket named by -o: written as it is, with nothing to rename. */
class DeviceSink extends BufferedSink implements Sink {
  readonly done = nothingDone();
  readonly ready = undefined;
  readonly #path: string;
  readonly #fd: number;
  #isClosed = false;
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
    this.#isClosed = true;
    closeSync(this.#fd);
  }

  async save(): Promise<void> {
    if (this.#failure === undefined && !this.#isClosed) await this.finish();
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
      writeAll(this.#fd, Buffer.from(text));
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
export async function openSink(path: string | undefined, options: Omit<FileSinkOptions, 'path'>): Promise<Sink> {
  if (path === undefined || path === '-') {
    if (options.resume) throw new UsageError('--resume: expected -o FILE to go on with');
    return new StdoutSink();
  }
  return isDevice(path) ? new DeviceSink(path) : FileSink.open({ path, ...options });
}

/** Something other than a file, written as it is: any number of runs may. */
export function isDevice(path: string): boolean {
  const stats = statSync(path, { throwIfNoEntry: false });
  return stats !== undefined && !stats.isFile() && !stats.isDirectory();
}

/** The sink of rows that are no records. */
export function openTableSink(path: string | undefined, options: TableOptions = {}): Sink {
  if (path === undefined || path === '-') {
    if (options.resume) throw new UsageError('--resume: expected -o FILE to go on with');
    return new StdoutSink();
  }
  return isDevice(path) ? new DeviceSink(path) : FileSink.openTable(path, options);
}

/** Whether there is an unfinished file to go on with; else what there is of one is gone. Throws UsageError when one is in the way. */
function beginPartial(path: string, { resume, anew }: { resume: boolean; anew: boolean }): boolean {
  const partial = `${path}.partial`;
  checkOutputPath(path);
  const left = statSync(partial, { throwIfNoEntry: false });
  if (left !== undefined && left.size > 0 && !resume && !anew)
    throw new UsageError(`${partial}: an earlier run has left it unfinished: go on with --resume, or delete it`);
  if (resume && left !== undefined) return true;
  for (const file of [partial, `${partial}.copy`, journalPath(path)]) rmSync(file, { force: true });
  return false;
}

/** A finished file is a beginning too: the input may have grown. The journal first: a FILE.partial with rows always has one. */
async function beginWithFinished({ path, settings, isRestart }: FileSinkOptions): Promise<void> {
  let finished: Extent;
  try {
    finished = await checkFinished(path, settings);
  } catch (cause) {
    if (isRestart && cause instanceof UsageError) return;
    throw cause;
  }
  writeFileSync(journalPath(path), journalHeader(settings, finished));
  copyWhole(path, `${path}.partial`);
}

function journalHeader(settings: Settings, begun: Extent): string {
  return `${JSON.stringify({ journal: JOURNAL_VERSION, settings, begun })}\n`;
}

function copyWhole(from: string, to: string): void {
  const aside = `${to}.copy`;
  copyFileSync(from, aside, constants.COPYFILE_FICLONE);
  renameSync(aside, to);
}

/** What a process elsewhere may have open goes its own way: from here on another file has this name. */
function moveToCopy(path: string): void {
  if (existsSync(path)) copyWhole(path, path);
}

/** Throws UsageError unless -o names a file that can be. */
export function checkOutputPath(path: string): void {
  if (statSync(path, { throwIfNoEntry: false })?.isDirectory())
    throw new UsageError(`-o ${path}: expected a file, got a directory`);
  if (!statSync(dirname(path), { throwIfNoEntry: false })?.isDirectory())
    throw new UsageError(`-o ${path}: expected a file in a directory that exists, got ${dirname(path)}`);
}

function writeAll(fd: number, bytes: Uint8Array): void {
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
