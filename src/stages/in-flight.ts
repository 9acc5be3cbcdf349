// SPDX-License-Identifier: Apache-2.0
// Many rows at a time through an engine that batches them itself: results in input order, bounded memory.
import { setMaxListeners } from 'node:events';
import type { ModelContext } from '../model/context.ts';
import { placed } from '../records/error.ts';
import type { VprefRecord } from '../records/record.ts';
import { mapOrdered } from './ordered.ts';
import { PacedRows } from './paced-rows.ts';
import { type Row, type RowResult, rowError, type Stage } from './stage.ts';

/** Rows in the engine at a time: enough for its batches, few enough for memory. */
const ROWS_IN_ENGINE = 64;

/** Rows after those whose images are made ready while the engine computes. */
const ROWS_AHEAD = 16;

/** How long rows that are under way at a stop may still come in. */
const GRACE_MS = 5000;

/** Failures that every further row would meet too: the run stops. */
const FATAL: ReadonlySet<string> = new Set(['device', 'closed']);

/**
 * Stage from an async function of one record, which makes the requests of a record in the same order every time. `signal` tells it that nobody
 * waits any more; `context` is the row's own. When the user asks to stop (`context.stop`), what is finished by then is given on.
 */
export function mapRowsInFlight(
  fn: (row: Row, context: ModelContext, signal: AbortSignal) => Promise<VprefRecord[]>,
  context: ModelContext,
): Stage {
  return (rows) => {
    const { pacing } = context.engine;
    const paced =
      pacing && new PacedRows(pacing, { rowsInEngine: ROWS_IN_ENGINE, patienceMs: context.inputPatienceMs ?? 0 });
    const cancel = new AbortController();
    // Every row in flight listens: Node would take more than ten for a leak.
    setMaxListeners(0, cancel.signal);
    return mapOrdered(paced ? untilOver(rows, () => paced.inputOver()) : rows, {
      window: paced ? ROWS_IN_ENGINE + ROWS_AHEAD : ROWS_IN_ENGINE,
      graceMs: GRACE_MS,
      signal: context.stop,
      start: (row) => {
        const entered = paced?.enter(context);
        const result = settleRow(row, fn(row, entered?.context ?? context, cancel.signal));
        return entered ? result.finally(entered.leave) : result;
      },
      stop: () => paced?.inputOver(),
      abort: () => {
        cancel.abort();
        paced?.end();
      },
    });
  };
}

async function* untilOver(rows: AsyncIterable<Row>, over: () => void): AsyncGenerator<Row> {
  try {
    yield* rows;
  } finally {
    over();
  }
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
