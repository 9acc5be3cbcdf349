// SPDX-License-Identifier: Apache-2.0
// The row of --summary, and the settings that it and --resume use.
import { writeFileSync } from 'node:fs';
import { RunError } from '../records/error.ts';
import { formatLine } from '../records/lines.ts';
import { withoutLogins } from '../records/server-url.ts';
import type { Done } from './journal.ts';
import type { RunCounts } from './progress.ts';

// Flags that do not change the rows: a resumed run may change them.
const passingFlags = new Set(
  'output resume progress quiet requeue threads limit on-error batch-tokens concurrency rpm tpm max-cost timeout attempts max-wait prices cache no-cache log base-url key-env summary'.split(
    ' ',
  ),
);

/** Flags that the output depends on. */
export function settingsOf(flags: object): Record<string, unknown> {
  const kept = Object.entries(flags).filter(([name, value]) => !passingFlags.has(name) && value !== undefined);
  // Never write a login in a server's URL.
  return Object.fromEntries(
    kept.map(([name, value]) => [name, typeof value === 'string' ? withoutLogins(value) : value]),
  );
}

/** Counts of a run that wrote records or other rows, including those of the run it resumed. */
export function summaryCounts(
  { read, written, skipped, kept, passed, done, dropped: droppedNow }: RunCounts,
  earlier: Pick<Done, 'rows' | 'dropped'>,
  areRecords: boolean,
): object {
  const dropped = new Map(earlier.dropped);
  for (const [reason, count] of droppedNow) dropped.set(reason, (dropped.get(reason) ?? 0) + count);
  return {
    rows_read: read,
    ...(areRecords && { rows_written: written + earlier.rows }),
    dropped: Object.fromEntries([...dropped].sort((a, b) => b[1] - a[1])),
    failed_left_out: skipped,
    failed_kept: kept,
    failed_before: passed,
    ...(done > 0 && { done_before: done }),
  };
}

export function writeSummary(path: string, row: object): void {
  try {
    writeFileSync(path, `${formatLine(row)}\n`);
  } catch (cause) {
    throw new RunError('summary', `--summary: ${(cause as Error).message}`, { cause });
  }
}
