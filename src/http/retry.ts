// SPDX-License-Identifier: Apache-2.0
// One call to its end: attempts, waits, and the state it ends in.
import { RunError } from '../records/error.ts';
import { type Attempt, failed } from './attempt.ts';
import { TransportError, wasNeverSent } from './client.ts';
import { type Clock, type FlowControl, FlowStopped } from './flow.ts';

/** A failure that would hit every later call: the run stops and keeps finished rows. */
export class FatalCallError extends RunError {
  override name = 'FatalCallError';
}

export interface RetryOptions {
  /** Who is called, for the message of a fatal failure. */
  who: string;
  flow: FlowControl;
  clock: Clock;
  maxAttempts: number;
  /** No wait is longer than this; a server that asks for more stops the run. */
  maxDelayMs: number;
  signal?: AbortSignal | undefined;
  /** Uniform in [0, 1), from a counter-based stream keyed by the call. */
  nextFloat(): number;
  /** Hears of every attempt, for the log. */
  onAttempt?(attempt: Attempt, number: number, elapsedMs: number): void;
}

const FIRST_DELAY_MS = 500;

/** A retry with a server-supplied delay counts as a quarter of an attempt: the server works, only its rate limit is narrow. */
const LIMITED_SHARE = 0.25;

/** Wait before attempt `number` + 1 (number counts from 1): doubling from 0.5 s, with up to half taken off at random. */
export function backoffMs(number: number, uniform: number, maxDelayMs: number): number {
  const full = Math.min(maxDelayMs, FIRST_DELAY_MS * 2 ** Math.min(number - 1, 30));
  return full * (1 - uniform / 2);
}

/**
 * Calls until an attempt ends in a state that another one would not change, or the attempts are used up. A server's own
 * delay is waited for, with jitter on top only, so that callers do not all come back at once. Throws FatalCallError for
 * an attempt that ends the run, FlowStopped when the run ends first.
 */
export async function callWithRetries(
  tokens: number,
  attemptOnce: () => Promise<Attempt>,
  options: RetryOptions,
): Promise<Attempt> {
  let failures = 0;
  for (let number = 1; ; number += 1) {
    const slot = await options.flow.acquire(tokens);
    const started = options.clock.now();
    let attempt: Attempt;
    try {
      attempt = await attemptOnce();
    } catch (cause) {
      if (!(cause instanceof TransportError)) {
        slot.done(0);
        throw cause;
      }
      attempt = transportAttempt(cause);
    }
    options.onAttempt?.(attempt, number, options.clock.now() - started);
    if (attempt.again) {
      number -= 1;
      slot.done(0);
      if (options.signal?.aborted) throw new FlowStopped('stopped');
      continue;
    }
    // The slot is not given back: nothing may start between this and the stop of the flow.
    if (attempt.fatal) throw fatalError(attempt, options);
    const asked = attempt.delayMs;
    if (attempt.retry && asked !== undefined && asked > options.maxDelayMs) {
      throw fatalError({ ...attempt, message: tooLong(attempt, asked, options) }, options);
    }
    const back = backoffMs(number, options.nextFloat(), options.maxDelayMs);
    const wait = asked === undefined ? back : asked + options.nextFloat() * (asked / 10 + 100);
    if (attempt.throttle) slot.throttled(Math.min(asked ?? back, options.maxDelayMs));
    else slot.done(attempt.usage ? attempt.usage.input_tokens + attempt.usage.output_tokens : tokens);
    failures += attempt.outcome === 'rate-limited' && asked !== undefined ? LIMITED_SHARE : 1;
    if (!attempt.retry || failures >= options.maxAttempts) return attempt;
    await sleepUnlessStopped(wait, options);
  }
}

/** A call that has attempts left when the run stops has no state yet. */
async function sleepUnlessStopped(ms: number, { clock, signal }: RetryOptions): Promise<void> {
  try {
    if (signal?.aborted) throw signal.reason;
    await clock.sleep(ms, signal);
  } catch {
    throw new FlowStopped('stopped');
  }
}

function fatalError({ outcome, message }: Attempt, { who }: RetryOptions): FatalCallError {
  return new FatalCallError(outcome, `${who}: ${outcome}: ${message}`);
}

/** Stops the run instead of failing row by row; it can be resumed later. */
function tooLong({ message = 'limited' }: Attempt, asked: number, { maxDelayMs }: RetryOptions): string {
  const seconds = Math.ceil(asked / 1000);
  return `${message}; the server asks to wait ${seconds} s, the longest wait allowed is ${maxDelayMs / 1000} s`;
}

function transportAttempt(cause: TransportError): Attempt {
  const brokeOff = !wasNeverSent(cause);
  // An answer that is too large may be one row's; a certificate or a URL is everybody's.
  const fatal = cause.permanent && cause.code !== 'too-large';
  return failed('transport', cause.message, { retry: !cause.permanent, fatal, brokeOff });
}
