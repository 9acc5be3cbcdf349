// SPDX-License-Identifier: Apache-2.0
// The error classes of a run. src/cli/exit.ts converts them to exit codes.

/** The command line asks for something that cannot be done: exit 2. */
export class UsageError extends Error {
  override name = 'UsageError';
}

/** `error.code` of a kept row with an invalid record; other codes name what failed. */
export const BAD_RECORD = 'bad-record';

/** Text for "got ...": long values (an image in base64) are cut. */
function shortened(text: string): string {
  return text.length > MAX_GOT ? `${text.slice(0, MAX_GOT).replace(/[\ud800-\udbff]$/, '')}...` : text;
}

const MAX_GOT = 400;

/** An invalid record: exit 2. The message is `SOURCE:LINE: field: expected X, got Y`. */
export class RecordError extends Error {
  override name = 'RecordError';
  readonly source: string;
  readonly line: number;
  readonly field: string;
  readonly expected: string;
  readonly got: string;
  constructor(at: { source: string; line: number }, field: string, expected: string, came: string) {
    const got = shortened(came);
    super(`${at.source}:${at.line}: ${field}: expected ${expected}, got ${got}`);
    this.source = at.source;
    this.line = at.line;
    this.field = field;
    this.expected = expected;
    this.got = got;
  }
}

/** The run itself failed (a file, a network, the engine): exit 1. */
export class RunError extends Error {
  override name = 'RunError';
  readonly code: string;
  constructor(code: string, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

/** A wrong field, thrown by code that does not know the record's place; stages add it (RecordError). */
export class FieldError extends RunError {
  override name = 'FieldError';
  readonly field: string;
  readonly expected: string;
  readonly got: string;
  constructor(code: string, field: string, expected: string, came: string) {
    const got = shortened(came);
    super(code, `${field}: expected ${expected}, got ${got}`);
    this.field = field;
    this.expected = expected;
    this.got = got;
  }
}

/** Adds the record's place to an error that names only the field. */
export function placed(at: { source: string; line: number }, cause: unknown): unknown {
  return cause instanceof FieldError ? new RecordError(at, cause.field, cause.expected, cause.got) : cause;
}
