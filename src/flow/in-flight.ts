// SPDX-License-Identifier: Apache-2.0
// Many rows at a time through an engine that batches them itself: results in input order, bounded memory.
import { setMaxListeners } from 'node:events';
import type { PolicyEngine } from '../engine/requests.ts';
import { placed } from '../records/error.ts';
import type { VprefRecord } from '../records/record.ts';
import { mapOrdered } from './ordered.ts';
import { type WindowRow, windowFor } from './same-batches.ts';
import { type Row, type RowResult, rowError, type Stage } from './stage.ts';

/** Rows in the engine at a time: enough for its batches, few enough for memory. */
const ROWS_IN_ENGINE = 64;

/** Rows after those whose images are made ready while the engine computes. */
const ROWS_AHEAD = 16;

/** How long rows that are under way at a stop may still come in. */
const GRACE_MS = 5000;

/** Failures that would hit every further row: the run stops. */
const FATAL: ReadonlySet<string> = new Set(['device', 'closed']);

/**
 * A record's work in two parts: it loads what it needs, then the function that it returns makes the requests, in the same order every time, and
 * waits for nothing else. Records returned at once need none. `signal` aborts it when the result is no longer needed.
 */
type RowWork = (row: Row, signal: AbortSignal) => Promise<VprefRecord[] | (() => Promise<VprefRecord[]>)>;

interface InFlightOptions {
  engine: Pick<PolicyEngine, 'info' | 'pacing'>;
  /** The user asks to stop: finished results are still yielded. */
  stop?: AbortSignal;
  /** How long the engine waits for rows that the input has not given yet. */
  inputPatienceMs?: number;
}

export function mapRowsInFlight(work: RowWork, { engine, stop, inputPatienceMs = 0 }: InFlightOptions): Stage {
  return (rows) => {
    const window = windowFor(engine, { rowsInEngine: ROWS_IN_ENGINE, patienceMs: inputPatienceMs });
    const cancel = new AbortController();
    // Every row in flight listens: Node would take more than ten for a leak.
    setMaxListeners(0, cancel.signal);
    return mapOrdered(rows, {
      window: ROWS_IN_ENGINE + (window ? ROWS_AHEAD : 0),
      graceMs: GRACE_MS,
      signal: stop,
      start: (row) => settleRow(row, work, cancel.signal, window?.enter()),
      inputOver: () => window?.inputOver(),
      stop: () => window?.inputOver(),
      abort: () => {
        cancel.abort();
        window?.end();
      },
    });
  };
}

async function settleRow(row: Row, work: RowWork, signal: AbortSignal, place?: WindowRow): Promise<RowResult> {
  try {
    const made = await work(row, signal);
    if (Array.isArray(made)) return { row, records: made };
    await place?.turn();
    return { row, records: await made() };
  } catch (cause) {
    const error = rowError(placed(row, cause));
    if (FATAL.has(error.code)) throw cause;
    return { row, records: [], error };
  } finally {
    place?.leave();
  }
}
