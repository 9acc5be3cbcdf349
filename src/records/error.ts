// SPDX-License-Identifier: Apache-2.0
// The three ways a run goes wrong. src/cli/exit.ts turns them into exit codes.

/** The command line asks for something that cannot be done: exit 2. */
export class UsageError extends Error {
  override name = 'UsageError';
}

/** A record is not what it should be: exit 2. The message is `SOURCE:LINE: field: expected X, got Y`. */
export class RecordError extends Error {
  override name = 'RecordError';
  readonly source: string;
  readonly line: number;
  readonly field: string;
  readonly expected: string;
  readonly got: string;
  constructor(at: { source: string; line: number }, field: string, expected: string, got: string) {
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

/** A record's field is wrong, told by code that does not know the record's place; stages put it in (RecordError). */
export class FieldError extends RunError {
  override name = 'FieldError';
  readonly field: string;
  readonly expected: string;
  readonly got: string;
  constructor(code: string, field: string, expected: string, got: string) {
    super(code, `${field}: expected ${expected}, got ${got}`);
    this.field = field;
    this.expected = expected;
    this.got = got;
  }
}
