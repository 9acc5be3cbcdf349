// SPDX-License-Identifier: Apache-2.0
// Runs one call: attempts, waits, final state.
import { RunError } from '../records/error.ts';
import { type Attempt, failed } from './attempt.ts';
import { TransportError, wasNeverSent } from './client.ts';
import { type Clock, type FlowControl, FlowStopped } from './flow.ts';

/** A failure that would hit every later call: the run stops and keeps finished rows. */
export class FatalCallError extends RunError {
  override name = 'FatalCallError';
}

export interface RetryOptions {
  /** Name of the server, for the message of a fatal failure. */
  who: string;
  flow: FlowControl;
  clock: Clock;
  maxAttempts: number;
  /** Maximum wait; a server that asks for more stops the run. */
  maxDelayMs: number;
  signal?: AbortSignal | undefined;
  /** Uniform in [0, 1), from a counter-based stream keyed by the call. */
  nextFloat(): number;
  /** Called for every attempt, for the log. */
  onAttempt?(attempt: Attempt, number: number, elapsedMs: number): void;
}

const FIRST_DELAY_MS = 500;

/** A retry with a server-supplied delay counts as a quarter of an attempt: the server works, only its rate limit is low. */
const LIMITED_SHARE = 0.25;

/** Wait before attempt `number` + 1 (number counts from 1): doubling from 0.5 s, minus a random part of up to half. */
export function backoffMs(number: number, uniform: number, maxDelayMs: number): number {
  const full = Math.min(maxDelayMs, FIRST_DELAY_MS * 2 ** Math.min(number - 1, 30));
  return full * (1 - uniform / 2);
}

/**
 * Calls until an attempt's outcome is final, or no attempt is left. Waits for a server's
 * delay plus jitter, so callers do not all return at once. Throws FatalCallError for
 * an attempt that stops the run, FlowStopped if the run stops first.
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
    // Keep the slot, so nothing starts before the flow stops.
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

/** A call with attempts left when the run stops has no final state. */
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

/** Stops the run instead of failing each row; it can be resumed later. */
function tooLong({ message = 'limited' }: Attempt, asked: number, { maxDelayMs }: RetryOptions): string {
  const seconds = Math.ceil(asked / 1000);
  return `${message}; the server asks to wait ${seconds} s, the longest wait allowed is ${maxDelayMs / 1000} s`;
}

function transportAttempt(cause: TransportError): Attempt {
  const brokeOff = !wasNeverSent(cause);
  // A too large reply may concern one row; a certificate or URL concerns all.
  const fatal = cause.permanent && cause.code !== 'too-large';
  return failed('transport', cause.message, { retry: !cause.permanent, fatal, brokeOff });
}
