// SPDX-License-Identifier: Apache-2.0
// Error class -> exit code and message: the one place where both are decided.
import { RecordError, RunError, UsageError } from '../records/error.ts';

export const exitCode = {
  ok: 0,
  failed: 1,
  /** The command line or a record is wrong. */
  usage: 2,
  /** Finished, but rows were skipped or kept as errors. */
  partial: 3,
  /** Stopped by SIGTERM or SIGUSR1 after saving: run again with --resume. */
  stopped: 75,
  interrupted: 130,
  brokenPipe: 141,
} as const;

export type StopSignal = 'SIGTERM' | 'SIGUSR1' | 'SIGINT';

/** The run was stopped from outside, and what was done is saved. */
export class StoppedError extends Error {
  override name = 'StoppedError';
  readonly signal: StopSignal;
  constructor(signal: StopSignal, message: string) {
    super(message);
    this.signal = signal;
  }
}

/** The reader of stdout has closed it: no more can be said. */
export class BrokenPipeError extends Error {
  override name = 'BrokenPipeError';
}

export function exitCodeOf(error: unknown): number {
  if (error instanceof BrokenPipeError) return exitCode.brokenPipe;
  if (error instanceof StoppedError) return error.signal === 'SIGINT' ? exitCode.interrupted : exitCode.stopped;
  if (error instanceof UsageError || error instanceof RecordError) return exitCode.usage;
  if (error instanceof RunError) return exitCode.failed;
  return oclifExit(error) ?? exitCode.failed;
}

/** What stderr says about an error: one line, or undefined for nothing. */
export function messageOf(error: unknown): string | undefined {
  if (error instanceof BrokenPipeError) return undefined;
  if (!(error instanceof Error)) return String(error);
  if (error instanceof RecordError || error instanceof UsageError) return error.message;
  if (error instanceof RunError || error instanceof StoppedError) return error.message;
  // oclif ends parse errors with advice and spreads them over lines.
  if (oclifExit(error) !== undefined) {
    const [first, ...rest] = error.message.replace(/\s*See more help with --help\s*$/, '').split(/\s*\n\s*/);
    return `${[first, ...rest].join(' ').trim()} (see --help)`;
  }
  if ('syscall' in error) return error.message;
  const place = /\n\s+at ([^\n]+)/.exec(error.stack ?? '')?.[1];
  return `internal error: ${error.name}: ${error.message}${place ? ` (at ${place})` : ''}`;
}

function oclifExit(error: unknown): number | undefined {
  const oclif = error instanceof Error && 'oclif' in error ? (error.oclif as { exit?: number | false }) : undefined;
  return typeof oclif?.exit === 'number' ? oclif.exit : undefined;
}
