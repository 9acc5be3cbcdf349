// SPDX-License-Identifier: Apache-2.0
// A row of doctor's table, and what makes one of a failure.
import { RunError } from '../../records/error.ts';

export interface Check {
  check: string;
  ok: boolean;
  detail: string;
  /** What to do, when ok is false. */
  remedy?: string;
}

/** What `work` gives, or the row that says why it does not. */
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
