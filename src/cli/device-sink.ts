// SPDX-License-Identifier: Apache-2.0
// A device, pipe or socket named by -o: written directly, without a rename.
import { closeSync, openSync, statSync } from 'node:fs';
import { RunError } from '../records/error.ts';
import { BrokenPipeError } from './exit.ts';
import { nothingDone } from './journal.ts';
import { BufferedSink, isDiskFull, type Sink, writeAll } from './sink.ts';

/** A device, pipe or socket. Several runs may write it. */
export function isDevice(path: string): boolean {
  const stats = statSync(path, { throwIfNoEntry: false });
  return stats !== undefined && !stats.isFile() && !stats.isDirectory();
}

export class DeviceSink extends BufferedSink implements Sink {
  readonly done = nothingDone();
  readonly ready = undefined;
  readonly #path: string;
  readonly #fd: number;
  #isClosed = false;

  constructor(path: string) {
    super();
    this.#path = path;
    this.#fd = openSync(path, 'w');
  }

  note(): void {}

  async finish(): Promise<void> {
    this.flush();
    this.#isClosed = true;
    closeSync(this.#fd);
  }

  async save(): Promise<void> {
    if (this.failure === undefined && !this.#isClosed) await this.finish();
  }

  protected writeText(text: string): void {
    writeAll(this.#fd, Buffer.from(text));
  }

  protected explain(cause: NodeJS.ErrnoException): Error {
    const why = isDiskFull(cause) ? 'no space left on device' : `cannot be written: ${cause.message}`;
    return cause.code === 'EPIPE'
      ? new BrokenPipeError(`${this.#path}: closed by its reader`)
      : new RunError('write-failed', `${this.#path}: ${why}`, { cause });
  }
}
