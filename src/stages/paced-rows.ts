// SPDX-License-Identifier: Apache-2.0
// The same input gives the same batches, and so the same bytes: the engine waits until every row it could compute has asked for what it
// wants. Which requests share a batch then depends on the rows alone, not on which image was decoded first.
import type { Pacing, PolicyEngine } from '../engine/requests.ts';
import type { ModelContext } from '../model/context.ts';

export interface PacingOptions {
  /** Rows that the engine may have requests of: so many from the first unfinished one. */
  rowsInEngine: number;
  /**
   * How long to wait for a row that the input has not given yet. For a live pipe, whose writer may itself wait for an answer, it must be
   * finite: its batches then depend on the writer's timing.
   */
  patienceMs: number;
}

interface PacedRow {
  /** Images and templates that are being loaded. */
  loads: number;
  /** Requests that the engine has. */
  running: number;
  /** Requests that wait for their turn. */
  queued: (() => void)[];
  isDone: boolean;
}

/** The rows in flight of one run, in input order. */
export class PacedRows {
  readonly #pacing: Pacing;
  readonly #options: PacingOptions;
  /** From the first that is not done. */
  #rows: PacedRow[] = [];
  #isInputOver = false;
  #isMoving = false;
  #isChecking = false;
  #isEnded = false;
  #patience: NodeJS.Timeout | undefined;
  #isImpatient = false;

  constructor(pacing: Pacing, options: PacingOptions) {
    this.#pacing = pacing;
    this.#options = options;
    pacing.pace(true);
  }

  /** Takes the next row; `leave` says that it is done. The context is the row's own. */
  enter(context: ModelContext): { context: ModelContext; leave: () => void } {
    const row: PacedRow = { loads: 0, running: 0, queued: [], isDone: false };
    this.#rows.push(row);
    clearTimeout(this.#patience);
    this.#patience = undefined;
    this.#isImpatient = false;
    const { engine } = context;
    const paced: PolicyEngine = {
      info: engine.info,
      layout: (shape) => engine.layout(shape),
      generate: (request, signal) => this.#request(row, () => engine.generate(request, signal)),
      score: (request, signal) => this.#request(row, () => engine.score(request, signal)),
    };
    return {
      context: {
        ...context,
        engine: paced,
        loadImage: (source, plan) => this.#load(row, context.loadImage(source, plan)),
        loadTemplate: (name, args) => this.#load(row, context.loadTemplate(name, args)),
      },
      leave: () => {
        row.isDone = true;
        this.#touch();
      },
    };
  }

  /** No further row will come. */
  inputOver(): void {
    this.#isInputOver = true;
    this.#touch();
  }

  /** Nobody waits any more: what is still queued is let through, to be refused or computed. */
  end(): void {
    if (this.#isEnded) return;
    this.#isEnded = true;
    clearTimeout(this.#patience);
    this.#pacing.pace(false);
    for (const row of this.#rows) submit(row);
  }

  #request<T>(row: PacedRow, start: () => Promise<T>): Promise<T> {
    const settled = () => {
      row.running -= 1;
      this.#touch();
    };
    return new Promise<T>((resolve, reject) => {
      row.queued.push(() => {
        row.running += 1;
        start().then(resolve, reject).finally(settled);
      });
      if (this.#isEnded) submit(row);
      else this.#touch();
    });
  }

  #load<T>(row: PacedRow, loading: Promise<T>): Promise<T> {
    row.loads += 1;
    return loading.finally(() => {
      row.loads -= 1;
      this.#touch();
    });
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
    while (this.#rows[0]?.isDone) this.#rows.shift();
    const rows = this.#rows.slice(0, this.#options.rowsInEngine);
    if (!rows.every(isWaiting)) return;
    if (rows.length < this.#options.rowsInEngine && !this.#isInputOver && !this.#isImpatient) {
      this.#waitForInput();
      return;
    }
    for (const row of rows) submit(row);
    if (!rows.some(({ running }) => running > 0)) return;
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

/** Everything that it can ask for now, it has asked for. */
function isWaiting({ isDone, loads, running, queued }: PacedRow): boolean {
  return isDone || (loads === 0 && running + queued.length > 0);
}

function submit({ queued }: PacedRow): void {
  for (const start of queued.splice(0)) start();
}
