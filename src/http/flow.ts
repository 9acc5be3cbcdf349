// SPDX-License-Identifier: Apache-2.0
// How fast calls may start: requests and tokens per minute, concurrent calls, and less of each when a server asks for it.
import { setMaxListeners } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';

/** Time as the flow sees it: monotonic milliseconds. Tests pass their own. */
export interface Clock {
  now(): number;
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
}

/** The process's monotonic clock: setting the wall clock changes nothing. */
export const monotonicClock: Clock = {
  now: () => performance.now(),
  sleep: (ms, signal) => delay(ms, undefined, signal ? { signal } : {}),
};

export interface FlowLimits {
  concurrency: number;
  requestsPerMinute?: number | undefined;
  tokensPerMinute?: number | undefined;
}

/** A call that may run. Exactly one of done and throttled must be called, unless the flow is about to be stopped. */
export interface Slot {
  /** The call is over. */
  done(actualTokens?: number): void;
  /** The call is over and the server asked for less: no call starts for delayMs, and fewer run at a time. */
  throttled(delayMs: number): void;
}

interface Waiter {
  tokens: number;
  admit(slot: Slot): void;
  reject(reason: unknown): void;
}

/** Thrown to callers that wait when the flow is stopped. */
export class FlowStopped extends Error {
  override name = 'FlowStopped';
}

/**
 * Admits calls in the order in which they asked. Requests and tokens are paced evenly (a call every 60/rpm seconds),
 * so no minute, wherever it begins, holds more than was allowed. After a throttle half as many run at a time; every full round of
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

  /** How many calls may run at a time now. */
  get concurrency(): number {
    return this.#limit;
  }

  /** Waits for a turn. `tokens` is the estimate that --tpm is kept by. */
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
        // One halving a pause: the calls that were under way with the first all hear the same.
        if (now >= this.#pausedUntil) this.#limit = Math.max(1, Math.floor(this.#limit / 2));
        this.#successes = 0;
        this.#pausedUntil = Math.max(this.#pausedUntil, now + delayMs);
        leave();
      },
    };
  }
}

/** The two ways in which a run ends: no new calls, or none at all. */
export interface RunSignals {
  stopped: AbortSignal;
  aborted: AbortSignal;
  /** Nothing new begins; running work continues. */
  stop(): void;
  /** What is under way ends too. */
  abort(): void;
}

/** Signals of a run whose calls go through this flow. */
export function runSignals(flow: FlowControl): RunSignals {
  const [stopping, aborting] = [new AbortController(), new AbortController()];
  // Every call under way listens to both.
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
