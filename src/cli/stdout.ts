// SPDX-License-Identifier: Apache-2.0
// Standard output, with back-pressure. Its errors and its close are handled from the start of the process.
import { RunError } from '../records/error.ts';
import { BrokenPipeError } from './exit.ts';
import { nothingDone } from './journal.ts';
import { BufferedSink, isDiskFull, type Sink } from './sink.ts';

export class StdoutSink extends BufferedSink implements Sink {
  readonly done = nothingDone();
  #ready: Promise<void> | undefined;

  get ready(): Promise<void> | undefined {
    return this.failure === undefined ? this.#ready : Promise.reject(this.failure);
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

  protected writeText(text: string): void {
    if (process.stdout.write(text)) return;
    this.#ready ??= stdoutDrained().finally(() => {
      this.#ready = undefined;
    });
    // Awaiting `ready` reports the failure; it may not be awaited yet.
    this.#ready.catch(() => {});
  }

  protected explain(cause: NodeJS.ErrnoException): Error {
    return stdoutError(cause);
  }
}

/** Waits until the reader has received everything, without time limit. */
export async function drainStdout(): Promise<void> {
  if (stdoutFailure !== undefined) throw stdoutFailure;
  await new Promise<void>((resolve, reject) => {
    process.stdout.write('', (error) => (error ? reject(stdoutError(error)) : resolve()));
  });
}

let stdoutFailure: Error | undefined;
const stdoutListeners = new Set<(error: Error) => void>();

/** Passes stdout's errors to the waiting write; a closed reader ends the process quietly. */
export function watchStdout(onBrokenPipe: () => void): void {
  // oclif's own listener swallows EPIPE and would let the run continue without a reader.
  process.stdout.removeAllListeners('error');
  process.stdout.on('error', (cause) => {
    stdoutFailure ??= stdoutError(cause);
    if (stdoutFailure instanceof BrokenPipeError) onBrokenPipe();
    for (const listener of stdoutListeners) listener(stdoutFailure);
  });
}

function stdoutDrained(): Promise<void> {
  return new Promise((resolve, reject) => {
    if (stdoutFailure !== undefined) return reject(stdoutFailure);
    const settle = (error?: Error) => {
      process.stdout.off('drain', settle);
      stdoutListeners.delete(settle);
      if (error) reject(error);
      else resolve();
    };
    process.stdout.once('drain', settle);
    stdoutListeners.add(settle);
  });
}

function stdoutError(cause: unknown): Error {
  const error = cause as NodeJS.ErrnoException;
  if (error.code === 'EPIPE') return new BrokenPipeError('stdout: closed by its reader');
  if (isDiskFull(error)) return new RunError('disk-full', 'stdout: no space left on device', { cause });
  return new RunError('write-failed', `stdout: cannot be written: ${error.message}`, { cause });
}
