// SPDX-License-Identifier: Apache-2.0
// Outputs: the common interface, and the common buffer.
import { writeSync } from 'node:fs';
import type { Done, JournalEntry } from './journal.ts';

/** The output of a run. `push` buffers; await `ready`, if set, before pushing more. */
export interface Sink {
  /** The finished part of an earlier run. */
  readonly done: Done;
  push(line: string): void;
  /** Records facts for resume beyond the ids of output rows. */
  note(entry: JournalEntry): void;
  /** A promise while the reader is behind. */
  readonly ready: Promise<void> | undefined;
  /** Makes the output final after all rows. */
  finish(): Promise<void>;
  /** Keeps the written rows if the run ends early. */
  save(): Promise<void>;
  /** The file that --resume continues. */
  readonly savedAs?: string | undefined;
}

const FLUSH_CHARS = 64 * 1024;

/**
 * Buffers rows up to 64 Ki characters, or until the pipe would wait, so a slow stage's rows are written one by one.
 * The first failed write throws, or the next call does if nothing awaits it.
 */
export abstract class BufferedSink {
  #lines: string[] = [];
  #chars = 0;
  #scheduled = false;
  #failure: unknown;

  push(line: string): void {
    this.throwFailure();
    this.#lines.push(line, '\n');
    this.#chars += line.length + 1;
    if (this.#chars >= FLUSH_CHARS) this.flush();
    else if (!this.#scheduled) {
      this.#scheduled = true;
      setImmediate(() => this.#flushIdle());
    }
  }

  protected get failure(): unknown {
    return this.#failure;
  }

  protected throwFailure(): void {
    if (this.#failure !== undefined) throw this.#failure;
  }

  protected flush(): void {
    if (this.#lines.length === 0) return;
    const text = this.#lines.join('');
    this.#lines = [];
    this.#chars = 0;
    this.guard(() => this.writeText(text));
  }

  protected guard(write: () => void): void {
    this.throwFailure();
    try {
      write();
    } catch (cause) {
      this.#failure = this.explain(cause as NodeJS.ErrnoException);
      throw this.#failure;
    }
  }

  protected abstract writeText(text: string): void;
  /** Error of a failed write. */
  protected abstract explain(cause: NodeJS.ErrnoException): Error;

  #flushIdle(): void {
    this.#scheduled = false;
    try {
      this.flush();
    } catch {
      // Stored as the failure.
    }
  }
}

export function writeAll(fd: number, bytes: Uint8Array): void {
  for (let written = 0; written < bytes.length; ) written += writeSync(fd, bytes, written);
}

export function isDiskFull(error: NodeJS.ErrnoException): boolean {
  return error.code === 'ENOSPC' || error.code === 'EDQUOT' || error.code === 'EFBIG';
}
