// SPDX-License-Identifier: Apache-2.0
// A file that appears when it is complete: FILE.partial is renamed to FILE at the end; its ledger is beside it.
import { closeSync, existsSync, fsyncSync, openSync, renameSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { RunError, UsageError } from '../records/error.ts';
import { type Done, type JournalEntry, journalPath, nothingDone, readDone } from './journal.ts';
import { KeptLines } from './kept-lines.ts';
import { JournalLedger, journalHeader, KeptLedger, type Ledger } from './ledger.ts';
import type { OutputLock } from './lock.ts';
import { beginPartial, copyWhole, moveToCopy } from './partial-file.ts';
import { checkFinished, type Extent, type Settings } from './settings-file.ts';
import { BufferedSink, isDiskFull, type Sink, writeAll } from './sink.ts';

export interface FileSinkOptions {
  path: string;
  resume: boolean;
  /** A restart by Slurm without --resume: overwrites a finished FILE of another run, as at the first start. */
  isRestart?: boolean;
  /** All rows are computed together: discard an unfinished file of an earlier run, and keep none. */
  startOver?: boolean;
  /** Settings that the output depends on; a resumed run must have the same. */
  settings: Settings;
  /** The lock of this run, checked before every write. */
  lock?: OutputLock | undefined;
}

/** How an unfinished table is treated. */
export interface TableOptions {
  /** Keep an unfinished file, for --resume. */
  resumable?: boolean;
  resume?: boolean;
  lock?: OutputLock | undefined;
}

interface FileSinkState {
  path: string;
  ledger: Ledger;
  /** Whether to keep the file if the run ends early. */
  isSaved: boolean;
  lock?: OutputLock | undefined;
}

export class FileSink extends BufferedSink implements Sink {
  readonly ready = undefined;
  readonly #state: FileSinkState;
  readonly #partial: string;
  readonly #fd: number;
  #isClosed = false;
  #isEmpty: boolean;

  private constructor(state: FileSinkState) {
    super();
    this.#state = state;
    this.#partial = `${state.path}.partial`;
    this.#isEmpty = state.ledger.isEmpty;
    this.#fd = openSync(this.#partial, 'a');
  }

  /** Throws UsageError if FILE cannot be written, or an unfinished file exists. */
  static async open(options: FileSinkOptions): Promise<FileSink> {
    const { path, resume, startOver = false, settings, lock } = options;
    const partial = `${path}.partial`;
    const isBegun = beginPartial(path, { resume, startOver });
    if (resume && !isBegun && existsSync(path)) await beginWithFinished(options);
    if (resume && lock?.isFromElsewhere) for (const file of [partial, journalPath(path)]) moveToCopy(file);
    const done = resume ? await readDone(path, partial, settings) : nothingDone();
    if (existsSync(partial)) truncateSync(partial, done.extent.bytes);
    if (existsSync(journalPath(path))) truncateSync(journalPath(path), done.journalBytes);
    return new FileSink({ path, ledger: new JournalLedger(path, settings, done), isSaved: !startOver, lock });
  }

  /** A file without journal. Throws UsageError if it cannot be written. */
  static openTable(path: string, { resumable = false, resume = false, lock }: TableOptions = {}): FileSink {
    const partial = `${path}.partial`;
    const isBegun = beginPartial(path, { resume, startOver: !resumable });
    if (resume && isBegun && lock?.isFromElsewhere) moveToCopy(partial);
    // A finished file is continued too: the input may have grown.
    if (resume && !isBegun && existsSync(path)) copyWhole(path, partial);
    const kept = resume && existsSync(partial) ? new KeptLines(partial) : undefined;
    return new FileSink({ path, ledger: new KeptLedger(path, kept), isSaved: resumable, lock });
  }

  get done(): Done {
    return this.#state.ledger.done;
  }

  get savedAs(): string | undefined {
    return this.#state.isSaved && !this.#isEmpty ? this.#partial : undefined;
  }

  note(entry: JournalEntry): void {
    this.#state.ledger.note(entry);
    this.#isEmpty = false;
  }

  override push(line: string): void {
    this.throwFailure();
    const { ledger } = this.#state;
    if (ledger.has(line)) return;
    ledger.cutTornEnd(this.#fd);
    super.push(line);
    this.#isEmpty = false;
  }

  async finish(): Promise<void> {
    const { path, ledger, lock } = this.#state;
    ledger.checkAll();
    ledger.cutTornEnd(this.#fd);
    this.flush();
    this.guard(() => {
      fsyncSync(this.#fd);
      lock?.check({ now: true });
      this.#close();
      ledger.seal();
      renameSync(this.#partial, path);
    });
    rmSync(journalPath(path), { force: true });
    syncDirectory(dirname(path));
  }

  async save(): Promise<void> {
    try {
      // A full disk was already reported.
      if (this.failure === undefined && !this.#isClosed) this.flush();
    } finally {
      this.#close();
      if ((this.#isEmpty || !this.#state.isSaved) && !isLost(this.failure)) {
        rmSync(this.#partial, { force: true });
        rmSync(journalPath(this.#state.path), { force: true });
      }
    }
  }

  // Write the ledger first: after a crash it may contain more than FILE.partial, never less.
  protected override flush(): void {
    super.flush();
    const { ledger } = this.#state;
    if (ledger.isNoted) this.guard(() => ledger.flush());
  }

  protected writeText(text: string): void {
    const bytes = Buffer.from(text);
    const { ledger } = this.#state;
    ledger.extend(bytes);
    ledger.flush();
    writeAll(this.#fd, bytes);
  }

  protected override guard(write: () => void): void {
    super.guard(() => {
      this.#state.lock?.check();
      write();
    });
  }

  protected explain(cause: NodeJS.ErrnoException): Error {
    if (isLost(cause)) return cause;
    const { path, isSaved } = this.#state;
    const saved = !isSaved ? '' : `; ${this.#partial} is saved: run again with --resume`;
    return isDiskFull(cause)
      ? new RunError('disk-full', `${path}: no space left on device${saved}`, { cause })
      : new RunError('write-failed', `${path}: cannot be written: ${cause.message}${saved}`, { cause });
  }

  #close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    closeSync(this.#fd);
    this.#state.ledger.close();
  }
}

/** The output now belongs to another run: leave its files alone. */
function isLost(error: unknown): boolean {
  return error instanceof RunError && error.code === 'locked';
}

/** A finished file can be continued, because the input may have grown. Write the journal first, so a FILE.partial with rows always has one. */
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

// Sync the directory, so a crash does not lose the rename; some file systems return an error.
function syncDirectory(path: string): void {
  try {
    const fd = openSync(path, 'r');
    fsyncSync(fd);
    closeSync(fd);
  } catch {}
}
