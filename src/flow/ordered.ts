// SPDX-License-Identifier: Apache-2.0
// Processes rows concurrently and yields results in input order, each as soon as all earlier ones are done.
import type { Row, RowResult } from './stage.ts';

export interface OrderedWork {
  /** Maximum unfinished rows. */
  window: number;
  /** Maximum finished rows that wait for an earlier one; default: none beyond the window. */
  held?: HeldRows | undefined;
  /** Processes one row. A rejection stops the run. */
  start(row: Row): Promise<RowResult>;
  /** The input has ended. */
  inputOver?(): void;
  /** The run must stop: start nothing new. */
  stop(): void;
  /** The run ended, complete or not: abort running work. */
  abort(): void;
  /** How long results may still arrive after a stop. */
  graceMs: number;
  /** Aborts on the user's stop: treated as a failure, with the signal's reason as cause. */
  signal?: AbortSignal | undefined;
}

/** The maximum distance from the first unfinished row to the last, and the maximum size of finished results in it. */
export interface HeldRows {
  rows: number;
  bytes: number;
}

interface OrderedRow {
  result?: RowResult;
  bytes: number;
  isUnfinished?: boolean;
}

/** Yields the results. After a failure, yields the finished ones up to the first gap, then throws the first cause. */
export async function* mapOrdered(rows: AsyncIterable<Row>, work: OrderedWork): AsyncGenerator<RowResult> {
  const slots: OrderedRow[] = [];
  const latch = new Latch();
  const input = readAhead(rows, latch, () => work.inputOver?.());
  let failure: { cause: unknown } | undefined;
  let running = 0;
  let heldBytes = 0;
  const hasRoom = () =>
    running < work.window && slots.length < (work.held?.rows ?? work.window) && heldBytes <= (work.held?.bytes ?? 0);
  const fail = (cause: unknown) => {
    if (failure === undefined) work.stop();
    failure ??= { cause };
    latch.ring();
  };
  const onSignal = () => fail(work.signal?.reason);
  if (work.signal?.aborted) onSignal();
  work.signal?.addEventListener('abort', onSignal);
  const launch = (row: Row) => {
    const slot: OrderedRow = { bytes: 0 };
    slots.push(slot);
    running += 1;
    work.start(row).then(
      (result) => {
        running -= 1;
        slot.result = result;
        if (work.held && slot !== slots[0]) slot.bytes = roughBytes(result.records);
        heldBytes += slot.bytes;
        latch.ring();
      },
      (cause) => {
        running -= 1;
        slot.isUnfinished = true;
        fail(cause);
      },
    );
  };
  try {
    while (failure === undefined) {
      const head = slots[0];
      if (head?.result) {
        slots.shift();
        heldBytes -= head.bytes;
        yield head.result;
        continue;
      }
      const row = hasRoom() ? input.take() : undefined;
      if (row) launch(row);
      else if (input.isOver() && head === undefined) return;
      else await latch.wait();
    }
    yield* finishedHead(slots, latch, work.graceMs);
    throw (failure as { cause: unknown }).cause;
  } finally {
    work.signal?.removeEventListener('abort', onSignal);
    work.abort();
    input.close();
  }
}

/** Approximate size of a value: that of its texts. */
function roughBytes(value: unknown): number {
  if (typeof value === 'string') return 2 * value.length;
  if (typeof value !== 'object' || value === null) return 8;
  let bytes = 16;
  for (const item of Object.values(value)) bytes += 16 + roughBytes(item);
  return bytes;
}

/** The results at the front. Waits for late ones until the time limit, or until one fails. */
async function* finishedHead(slots: OrderedRow[], latch: Latch, graceMs: number): AsyncGenerator<RowResult> {
  let isLate = false;
  const timer = setTimeout(() => {
    isLate = true;
    latch.ring();
  }, graceMs);
  try {
    while (slots[0] && !slots[0].isUnfinished) {
      if (slots[0].result) yield slots.shift()!.result!;
      else if (isLate) return;
      else await latch.wait();
    }
  } finally {
    clearTimeout(timer);
  }
}

/** A latch for one waiter. Unlike Promise.race, it adds no reactions to long-lived promises. */
class Latch {
  #wake: (() => void) | undefined;
  #hasRung = false;

  ring(): void {
    this.#hasRung = true;
    this.#wake?.();
  }

  async wait(): Promise<void> {
    if (!this.#hasRung) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    this.#wake = undefined;
    this.#hasRung = false;
  }
}

/** Reads at most one row ahead. */
function readAhead(rows: AsyncIterable<Row>, latch: Latch, over: () => void) {
  const iterator = rows[Symbol.asyncIterator]();
  let ready: Row | undefined;
  let isOver = false;
  let isAsking = false;
  let failure: { cause: unknown } | undefined;
  const ask = () => {
    isAsking = true;
    iterator.next().then(
      (step) => {
        if (step.done) {
          isOver = true;
          over();
        } else ready = step.value;
        isAsking = false;
        latch.ring();
      },
      (cause) => {
        failure = { cause };
        isAsking = false;
        latch.ring();
      },
    );
  };
  return {
    /** The next row if it has arrived; otherwise requests it. */
    take(): Row | undefined {
      const row = ready;
      ready = undefined;
      if (failure) throw failure.cause;
      if (row === undefined && !isOver && !isAsking) ask();
      return row;
    },
    isOver: () => isOver && ready === undefined,
    close: () => {
      iterator.return?.()?.catch(() => {});
    },
  };
}
