// SPDX-License-Identifier: Apache-2.0
// Resume state of a file's sink: a journal if rows have ids, else the lines already written.
import { closeSync, ftruncateSync, openSync, rmSync } from 'node:fs';
import { type Done, JOURNAL_VERSION, type JournalEntry, journalPath, nothingDone } from './journal.ts';
import type { KeptLines } from './kept-lines.ts';
import { type Extent, extended, NOTHING, type Settings, settingsPath, writeSettings } from './settings-file.ts';
import { writeAll } from './sink.ts';

export interface Ledger {
  /** The finished part of an earlier run. */
  readonly done: Done;
  readonly isEmpty: boolean;
  /** Adds a journal entry for facts that the output rows do not contain; written by flush(). */
  note(entry: JournalEntry): void;
  /** Whether the row is already written. Throws UsageError if another row is there. */
  has(line: string): boolean;
  /** Truncates the file after the earlier run's rows, once it is known to belong to this run. */
  cutTornEnd(fd: number): void;
  /** Throws UsageError while rows of the earlier run have not been reproduced. */
  checkAll(): void;
  /** Announces the bytes that are written next. */
  extend(bytes: Buffer): void;
  /** Whether flush() has something to write. */
  readonly isNoted: boolean;
  flush(): void;
  /** The file is complete and gets its name. */
  seal(): void;
  close(): void;
}

/** The first line of a journal; `begun`: the finished FILE with which the run began. */
export function journalHeader(settings: Settings, begun: Extent): string {
  return `${JSON.stringify({ journal: JOURNAL_VERSION, settings, begun })}\n`;
}

/** FILE.journal, for rows with ids: entries for facts that rows do not contain, and the extent of FILE.partial, each flushed before the rows. */
export class JournalLedger implements Ledger {
  readonly done: Done;
  readonly isEmpty: boolean;
  readonly #path: string;
  readonly #settings: Settings;
  readonly #fd: number;
  #noted: string;
  #extent: Extent;

  constructor(path: string, settings: Settings, done: Done) {
    this.#path = path;
    this.#settings = settings;
    this.done = done;
    this.isEmpty = done.rows === 0 && done.journalBytes === 0;
    this.#extent = done.extent;
    this.#noted = done.journalBytes === 0 ? journalHeader(settings, NOTHING) : `${JSON.stringify(done.extent)}\n`;
    this.#fd = openSync(journalPath(path), 'a');
  }

  get isNoted(): boolean {
    return this.#noted !== '';
  }

  note(entry: JournalEntry): void {
    this.#noted += `${JSON.stringify(entry)}\n`;
  }

  has(): boolean {
    return false;
  }

  cutTornEnd(): void {}

  checkAll(): void {}

  extend(bytes: Buffer): void {
    this.#extent = extended(this.#extent, bytes);
    this.#noted += `${JSON.stringify(this.#extent)}\n`;
  }

  flush(): void {
    const entries = this.#noted;
    this.#noted = '';
    writeAll(this.#fd, Buffer.from(entries));
  }

  seal(): void {
    writeSettings(this.#path, this.#settings, this.#extent);
  }

  close(): void {
    closeSync(this.#fd);
  }
}

/** For rows without ids: a resumed run recomputes the earlier rows and compares. */
export class KeptLedger implements Ledger {
  readonly done = nothingDone();
  readonly isEmpty: boolean;
  readonly isNoted = false;
  readonly #path: string;
  readonly #kept: KeptLines | undefined;
  #isCut = false;

  constructor(path: string, kept: KeptLines | undefined) {
    this.#path = path;
    this.#kept = kept;
    this.isEmpty = kept === undefined || kept.bytes === 0;
  }

  note(): void {}

  has(line: string): boolean {
    return this.#kept?.has(line) ?? false;
  }

  cutTornEnd(fd: number): void {
    if (this.#kept === undefined || this.#isCut) return;
    ftruncateSync(fd, this.#kept.bytes);
    this.#isCut = true;
  }

  checkAll(): void {
    this.#kept?.checkAll();
  }

  extend(): void {}

  flush(): void {}

  seal(): void {
    rmSync(settingsPath(this.#path), { force: true });
  }

  close(): void {
    this.#kept?.close();
  }
}
