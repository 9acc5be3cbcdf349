// SPDX-License-Identifier: Apache-2.0
// The same input gives the same bytes. On the CPU a row's result does not depend on the other rows of its batch (native/backend/cpu/row_products.cc,
// attention_plan.h), so the engine computes available requests at once. On the GPU it depends on them, so batches must be reproducible: the engine computes
// only after every row of the window has made its requests. Then the rows alone decide which requests share a batch, not which image
// was decoded first.
import type { Pacing, PolicyEngine } from '../engine/requests.ts';

export interface WindowOptions {
  /** Size of the window: rows, from the first unfinished one, that may make requests. */
  rowsInEngine: number;
  /**
   * How long to wait for input that has not arrived. For a live pipe it must be finite, because the writer may wait for a result;
   * batches then depend on the writer's timing.
   */
  patienceMs: number;
}

/** A row in the window. */
export interface WindowRow {
  /** Call after loading. Settles when the row may make its requests; from then on the row may wait only for these. */
  turn(): Promise<void>;
  /** The row is done, or failed. */
  leave(): void;
}

/** The window of a run over this engine; undefined if results do not depend on batches. */
export function windowFor({ info, pacing }: Pick<PolicyEngine, 'info' | 'pacing'>, options: WindowOptions) {
  return info.device === 'cpu' || pacing === undefined ? undefined : new RowWindow(pacing, options);
}

interface WindowSlot {
  state: 'loading' | 'ready' | 'running' | 'done';
  admit(): void;
}

/** The rows in flight of one run, in input order. */
export class RowWindow {
  readonly #pacing: Pacing;
  readonly #options: WindowOptions;
  /** Rows from the first unfinished one. */
  readonly #slots: WindowSlot[] = [];
  #isInputOver = false;
  #isMoving = false;
  #isChecking = false;
  #isEnded = false;
  #patience: NodeJS.Timeout | undefined;
  #isImpatient = false;

  constructor(pacing: Pacing, options: WindowOptions) {
    this.#pacing = pacing;
    this.#options = options;
    pacing.pace(true);
  }

  /** Takes the next row of the input. */
  enter(): WindowRow {
    const slot: WindowSlot = { state: 'loading', admit: () => undefined };
    this.#slots.push(slot);
    clearTimeout(this.#patience);
    this.#patience = undefined;
    this.#isImpatient = false;
    return {
      turn: () =>
        new Promise((resolve) => {
          slot.admit = () => {
            slot.state = 'running';
            resolve();
          };
          slot.state = 'ready';
          if (this.#isEnded) slot.admit();
          else this.#touch();
        }),
      leave: () => {
        slot.state = 'done';
        this.#touch();
      },
    };
  }

  /** The input has ended. */
  inputOver(): void {
    this.#isInputOver = true;
    this.#touch();
  }

  /** Results are no longer needed: releases all waiting requests. */
  end(): void {
    if (this.#isEnded) return;
    this.#isEnded = true;
    clearTimeout(this.#patience);
    this.#pacing.pace(false);
    for (const slot of this.#slots) if (slot.state === 'ready') slot.admit();
  }

  // Reactions of settled promises run before this check.
  #touch(): void {
    if (this.#isChecking || this.#isEnded) return;
    this.#isChecking = true;
    setImmediate(() => {
      this.#isChecking = false;
      this.#check();
    });
  }

  #check(): void {
    if (this.#isMoving || this.#isEnded) return;
    while (this.#slots[0]?.state === 'done') this.#slots.shift();
    const { rowsInEngine } = this.#options;
    const slots = this.#slots.slice(0, rowsInEngine);
    if (slots.some(({ state }) => state === 'loading')) return;
    if (slots.length < rowsInEngine && !this.#isInputOver && !this.#isImpatient) {
      this.#waitForInput();
      return;
    }
    const ready = slots.filter(({ state }) => state === 'ready');
    for (const slot of ready) slot.admit();
    if (ready.length > 0) this.#touch();
    else if (slots.some(({ state }) => state === 'running')) this.#advance();
  }

  #advance(): void {
    this.#isMoving = true;
    const moved = () => {
      this.#isMoving = false;
      this.#touch();
    };
    this.#pacing.advance().then(moved, moved);
  }

  #waitForInput(): void {
    if (this.#patience !== undefined || !Number.isFinite(this.#options.patienceMs)) return;
    this.#patience = setTimeout(() => {
      this.#isImpatient = true;
      this.#check();
    }, this.#options.patienceMs);
  }
}
