// SPDX-License-Identifier: Apache-2.0
// Passes many rows concurrently to an engine that batches them: results in input order, bounded memory.
import { setMaxListeners } from 'node:events';
import { isEngineLost } from '../engine/engine-error.ts';
import type { PolicyEngine } from '../engine/requests.ts';
import { placed } from '../records/error.ts';
import type { VprefRecord } from '../records/record.ts';
import { mapOrdered } from './ordered.ts';
import { type WindowRow, windowFor } from './same-batches.ts';
import { type Row, type RowResult, rowError, type Stage } from './stage.ts';

/** Maximum rows in the engine: enough for its batches, few enough for memory. */
const ROWS_IN_ENGINE = 64;

/** Further rows whose images are prepared while the engine computes. */
const ROWS_AHEAD = 16;

/** After a stop signal, rows in flight may still finish within this time. */
const GRACE_MS = 5000;

/**
 * A record's work in two parts: it loads its inputs, then the returned function makes the requests, in deterministic order, and
 * waits for nothing else. Returned records need no requests. `signal` aborts the work if the result is no longer needed.
 */
type RowWork = (row: Row, signal: AbortSignal) => Promise<VprefRecord[] | (() => Promise<VprefRecord[]>)>;

interface InFlightOptions {
  engine: Pick<PolicyEngine, 'info' | 'pacing'>;
  /** Aborts on the user's stop; finished results are still yielded. */
  stop?: AbortSignal;
  /** How long the engine waits for input that has not arrived. */
  inputPatienceMs?: number;
}

export function mapRowsInFlight(work: RowWork, { engine, stop, inputPatienceMs = 0 }: InFlightOptions): Stage {
  return (rows) => {
    const window = windowFor(engine, { rowsInEngine: ROWS_IN_ENGINE, patienceMs: inputPatienceMs });
    const cancel = new AbortController();
    // Every row in flight listens, and Node warns of a leak above ten listeners.
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
    if (isEngineLost(error.code)) throw cause;
    return { row, records: [], error };
  } finally {
    place?.leave();
  }
}
