// SPDX-License-Identifier: Apache-2.0
// A row of doctor's table, and a helper that turns a failure into one.
import { RunError } from '../../records/error.ts';

export interface Check {
  check: string;
  ok: boolean;
  detail: string;
  /** What to do, when ok is false. */
  remedy?: string;
}

/** The result of `work`, or a failed row with its error. */
export async function attempt<T extends object>(
  check: string,
  remedy: string,
  work: () => T | Promise<T>,
): Promise<T | Check> {
  try {
    return await work();
  } catch (cause) {
    if (!(cause instanceof RunError)) throw cause;
    return { check, ok: false, detail: cause.message, remedy };
  }
}

export function gibibytes(bytes: number): string {
  return `${(bytes / 2 ** 30).toFixed(bytes < 2 ** 30 ? 2 : 1)} GiB`;
}
