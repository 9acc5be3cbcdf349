// SPDX-License-Identifier: Apache-2.0
// Limits the rate of calls: requests and tokens per minute, and concurrent calls; reduced if a server asks for it.
import { setMaxListeners } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';

/** The clock of the flow: monotonic milliseconds. Tests pass another one. */
export interface Clock {
  now(): number;
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
}

/** The process's monotonic clock, independent of the wall clock. */
export const monotonicClock: Clock = {
  now: () => performance.now(),
  sleep: (ms, signal) => delay(ms, undefined, signal ? { signal } : {}),
};

export interface FlowLimits {
  concurrency: number;
  requestsPerMinute?: number | undefined;
  tokensPerMinute?: number | undefined;
}

/** A call that may run. The holder must call exactly one of done and throttled, unless the flow is about to stop. */
export interface Slot {
  /** The call is over. */
  done(actualTokens?: number): void;
  /** The call is over and the server asked for fewer calls: none starts for delayMs, and fewer run concurrently. */
  throttled(delayMs: number): void;
}

interface Waiter {
  tokens: number;
  admit(slot: Slot): void;
  reject(reason: unknown): void;
}

/** Thrown to waiting callers when the flow stops. */
export class FlowStopped extends Error {
  override name = 'FlowStopped';
}

/**
 * Admits calls in order of request. Requests and tokens are paced evenly (one call per 60/rpm seconds),
 * so no minute exceeds the limit, wherever it begins. A throttle halves the concurrency; each full round of
 * successes adds one, up to the limit.
 */
export class FlowControl {
  readonly #limits: FlowLimits;
  readonly #clock: Clock;
  readonly #queue: Waiter[] = [];
  #limit: number;
  #running = 0;
  #successes = 0;
  #requestsAt = 0;
  #tokensAt = 0;
  #pausedUntil = 0;
  #stopped: FlowStopped | undefined;
  #timer: AbortController | undefined;

  constructor(limits: FlowLimits, clock: Clock = monotonicClock) {
    this.#limits = limits;
    this.#clock = clock;
    this.#limit = limits.concurrency;
  }

  /** Current limit of concurrent calls. */
  get concurrency(): number {
    return this.#limit;
  }

  /** Waits for admission. `tokens` is the estimate for --tpm. */
  acquire(tokens: number): Promise<Slot> {
    if (this.#stopped) return Promise.reject(this.#stopped);
    return new Promise((admit, reject) => {
      this.#queue.push({ tokens, admit, reject });
      this.#pump();
    });
  }

  /** Starts no further call; waiting callers get FlowStopped. Running calls continue. */
  stop(reason: string): void {
    this.#stopped ??= new FlowStopped(reason);
    this.#timer?.abort();
    for (const waiter of this.#queue.splice(0)) waiter.reject(this.#stopped);
  }

  #pump(): void {
    while (this.#queue.length > 0 && this.#running < this.#limit) {
      const wait = Math.max(this.#pausedUntil, this.#requestsAt, this.#tokensAt) - this.#clock.now();
      if (wait > 0) {
        this.#pumpLater(wait);
        return;
      }
      const waiter = this.#queue.shift()!;
      this.#charge(waiter.tokens);
      this.#running += 1;
      waiter.admit(this.#slot(waiter.tokens));
    }
  }

  #pumpLater(wait: number): void {
    this.#timer?.abort();
    const timer = new AbortController();
    this.#timer = timer;
    this.#clock.sleep(wait, timer.signal).then(
      () => this.#pump(),
      () => {},
    );
  }

  #charge(tokens: number): void {
    const now = this.#clock.now();
    const { requestsPerMinute, tokensPerMinute } = this.#limits;
    if (requestsPerMinute) this.#requestsAt = Math.max(now, this.#requestsAt) + 60_000 / requestsPerMinute;
    if (tokensPerMinute) this.#tokensAt = Math.max(now, this.#tokensAt) + (tokens * 60_000) / tokensPerMinute;
  }

  #slot(estimate: number): Slot {
    const leave = () => {
      this.#running -= 1;
      this.#pump();
    };
    return {
      done: (actual = estimate) => {
        const { tokensPerMinute } = this.#limits;
        if (tokensPerMinute) this.#tokensAt += ((actual - estimate) * 60_000) / tokensPerMinute;
        this.#successes += 1;
        if (this.#successes >= this.#limit && this.#limit < this.#limits.concurrency) {
          this.#limit += 1;
          this.#successes = 0;
        }
        leave();
      },
      throttled: (delayMs) => {
        const now = this.#clock.now();
        // Halve once per pause, because all calls running at the time are throttled.
        if (now >= this.#pausedUntil) this.#limit = Math.max(1, Math.floor(this.#limit / 2));
        this.#successes = 0;
        this.#pausedUntil = Math.max(this.#pausedUntil, now + delayMs);
        leave();
      },
    };
  }
}

/** The two ways to end a run: start no new calls, or also abort running ones. */
export interface RunSignals {
  stopped: AbortSignal;
  aborted: AbortSignal;
  /** Starts nothing new; running work continues. */
  stop(): void;
  /** Aborts running work too. */
  abort(): void;
}

/** Signals of a run whose calls go through this flow. */
export function runSignals(flow: FlowControl): RunSignals {
  const [stopping, aborting] = [new AbortController(), new AbortController()];
  // Every running call listens to both.
  setMaxListeners(0, stopping.signal, aborting.signal);
  const stop = () => {
    stopping.abort();
    flow.stop('stopped');
  };
  const abort = () => {
    stop();
    aborting.abort();
  };
  return { stopped: stopping.signal, aborted: aborting.signal, stop, abort };
}
