// SPDX-License-Identifier: Apache-2.0
import { RunError } from '../records/error.ts';

/** An invalid image (code "image") or operation (code "op"): which one, expected value, actual value. */
export class PixelError extends RunError {
  /** A path, the start of a data: URI, or an operation and its parameter. */
  readonly subject: string;
  readonly expected: string;
  readonly got: string;
  constructor(code: 'image' | 'op', subject: string, expected: string, got: string, options?: ErrorOptions) {
    super(code, `${subject}: expected ${expected}, got ${got}`, options);
    this.subject = subject;
    this.expected = expected;
    this.got = got;
  }
}
