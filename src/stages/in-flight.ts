// SPDX-License-Identifier: Apache-2.0
// Many rows at a time through an engine that batches them itself: results in input order, bounded memory.
import { setMaxListeners } from 'node:events';
import { placed } from '../records/error.ts';
import type { VprefRecord } from '../records/record.ts';
import { mapOrdered } from './ordered.ts';
import { type Row, type RowResult, rowError, type Stage } from './stage.ts';

/** Rows in the engine at a time: enough for its batches, few enough for memory. */
const ROWS_IN_FLIGHT = 64;

/** How long rows that are under way at a stop may still come in. */
const GRACE_MS = 5000;

/** Failures that every further row would meet too: the run stops. */
const FATAL: ReadonlySet<string> = new Set(['device', 'closed']);

/**
 * Stage from an async function of one record. `signal` tells it that nobody waits any more.
 *   stop: the user asks to stop; what is finished by then is given on.
 */
export function mapRowsInFlight(
  fn: (row: Row, signal: AbortSignal) => Promise<VprefRecord[]>,
  stop: AbortSignal | undefined,
): Stage {
  return (rows) => {
    const cancel = new AbortController();
    // Every row in flight listens: Node would take more than ten for a leak.
    setMaxListeners(0, cancel.signal);
    return mapOrdered(rows, {
      window: ROWS_IN_FLIGHT,
      graceMs: GRACE_MS,
      signal: stop,
      start: (row) => settleRow(row, fn(row, cancel.signal)),
      stop: () => undefined,
      abort: () => cancel.abort(),
    });
  };
}

async function settleRow(row: Row, work: Promise<VprefRecord[]>): Promise<RowResult> {
  try {
    return { row, records: await work };
  } catch (cause) {
    const error = rowError(placed(row, cause));
    if (FATAL.has(error.code)) throw cause;
    return { row, records: [], error };
  }
}
