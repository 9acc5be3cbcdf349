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
  /** `eval gate`: a requirement failed. */
  gate: 4,
  /** Stopped by SIGTERM or SIGUSR1 after saving: run again with --resume. */
  stopped: 75,
  interrupted: 130,
  brokenPipe: 141,
} as const;

export type StopSignal = 'SIGTERM' | 'SIGUSR1' | 'SIGINT';

/** The run was stopped by a signal and its work is saved. */
export class StoppedError extends Error {
  override name = 'StoppedError';
  readonly signal: StopSignal;
  constructor(signal: StopSignal, message: string) {
    super(message);
    this.signal = signal;
  }
}

/** EPIPE on stdout. */
export class BrokenPipeError extends Error {
  override name = 'BrokenPipeError';
}

/** The error of a stop request; names the file that --resume continues. */
export function stoppedError(reason: unknown, savedAs: string | undefined): StoppedError {
  const { signal } = reason as StoppedError;
  return new StoppedError(
    signal,
    `stopped by ${signal}${savedAs === undefined ? '' : `; ${savedAs} is saved: run again with --resume`}`,
  );
}

export function exitCodeOf(error: unknown): number {
  if (error instanceof BrokenPipeError) return exitCode.brokenPipe;
  if (error instanceof StoppedError) return error.signal === 'SIGINT' ? exitCode.interrupted : exitCode.stopped;
  if (error instanceof UsageError || error instanceof RecordError) return exitCode.usage;
  if (error instanceof RunError) return exitCode.failed;
  if (isOclifError(error)) return endsQuietly(error) ? error.oclif.exit : exitCode.usage;
  return exitCode.failed;
}

/** The line that stderr gets for an error; undefined for none. */
export function messageOf(error: unknown): string | undefined {
  if (error instanceof BrokenPipeError) return undefined;
  // Another rank printed the cause.
  if (error instanceof RunError && error.code === 'peer') return undefined;
  if (error instanceof StoppedError && error.message === '') return undefined;
  if (!(error instanceof Error)) return String(error);
  if (isOclifError(error)) return endsQuietly(error) ? undefined : `${inOneLine(error.message)} (see --help)`;
  if (error instanceof UsageError) return inOneLine(error.message);
  const isOurs = error instanceof RecordError || error instanceof RunError || error instanceof StoppedError;
  if (isOurs || 'syscall' in error) return error.message;
  const place = /\n\s+at ([^\n]+)/.exec(error.stack ?? '')?.[1];
  return `internal error: ${error.name}: ${error.message}${place ? ` (at ${place})` : ''}`;
}

// The parser's messages, in the form of our own: what, what was expected, what came.
const PARSER_MESSAGES: [RegExp, string][] = [
  [/^command ([^:\s]+)\S* not found/, 'expected a command, got "$1"'],
  [/^Expected (--\S+?)=(.*) to be one of: (.*)$/, '$1: expected one of $3, got $2'],
  [/^Expected (.*) to be one of: (.*)$/, 'expected one of $2, got $1'],
  [/^Nonexistent flags?: (.*)$/, 'unknown flag: $1'],
  [/^Missing required flag (\S+)$/, '--$1: expected a value, got nothing'],
  [/^Flag (--\S+) expects a value$/, '$1: expected a value, got nothing'],
  [/^Missing \d+ required args?: (\S+)\s+\(([^)]*)\).*$/, '$1: expected one of $2, got nothing'],
  [/^All of the following must be provided when using (--\S+): (.*)$/, '$1: expected $2 with it'],
  [/^(--[\w-]+)(?:=.*)? cannot also be provided when using (--\S+)$/, '$1: expected no $2 with it'],
];

// oclif puts "Parsing --flag" before what a flag's parser throws, advice after it, and spreads both over lines.
function inOneLine(message: string): string {
  const line = message
    .replace(/^Parsing --\S+\s+/, '')
    .replace(/\s*See more help with --help\s*$/, '')
    .replace(/^The following errors? occurred:\s*/, '')
    .replace(/\s*\n\s*/g, ' ')
    .trim();
  const form = PARSER_MESSAGES.find(([pattern]) => pattern.test(line));
  if (form === undefined) return line;
  const own = line.replace(...form);
  return line.startsWith('Missing') ? own.replaceAll('|', ', ') : own;
}

type OclifError = Error & { code?: string; oclif: { exit: number } };

// A UsageError thrown by a flag's parser carries oclif's mark too; its class decides.
function isOclifError(error: unknown): error is OclifError {
  return error instanceof Error && 'oclif' in error && !(error instanceof UsageError);
}

/** oclif ends --help and --version by throwing. */
function endsQuietly(error: OclifError): boolean {
  return error.code === 'EEXIT';
}
