// SPDX-License-Identifier: Apache-2.0
// The same input gives the same bytes. On the CPU what a row gets does not depend on the rows beside it (native/backend/cpu/row_products.cc,
// attention_plan.h), so that the engine may compute what it has. On the GPU it does: there the batches must be the same, and the engine computes only
// when every row that it could compute has asked for what it wants. Which requests share a batch then depends on the rows alone, not on which image
// was decoded first.
import type { Pacing, PolicyEngine } from '../engine/requests.ts';

export interface WindowOptions {
  /** Rows that the engine may have requests of: so many from the first unfinished one. */
  rowsInEngine: number;
  /**
   * How long to wait for a row that the input has not given yet. For a live pipe, whose writer may itself wait for an answer, it must be
   * finite: its batches then depend on the writer's timing.
   */
  patienceMs: number;
}

/** A row's place in the window. */
export interface WindowRow {
  /** Everything is loaded: settles when the row may make its requests. From then on it waits for nothing but these. */
  turn(): Promise<void>;
  /** It is done, or failed. */
  leave(): void;
}

/** The window of a run over this engine; undefined where the bytes need none. */
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
  /** From the first that is not done. */
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

  /** No further row will come. */
  inputOver(): void {
    this.#isInputOver = true;
    this.#touch();
  }

  /** Results are no longer needed: releases all waiting requests, to be refused or computed. */
  end(): void {
    if (this.#isEnded) return;
    this.#isEnded = true;
    clearTimeout(this.#patience);
    this.#pacing.pace(false);
    for (const slot of this.#slots) if (slot.state === 'ready') slot.admit();
  }

  // What follows a settled promise runs before the check does.
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
