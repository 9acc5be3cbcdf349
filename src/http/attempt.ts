// SPDX-License-Identifier: Apache-2.0
// What one call to a text-generating server came to, whatever the server's own words for it were.
import type { Outcome } from '../records/record.ts';

/** Tokens as the server counted them. */
export interface Usage {
  input_tokens: number;
  output_tokens: number;
  /** Hidden reasoning tokens; already part of output_tokens. */
  reasoning_tokens?: number;
  /** Input tokens served from the provider's own prompt cache; already part of input_tokens. */
  cached_tokens?: number;
}

/** One finished attempt. Never thrown: a failure is a state. */
export interface Attempt {
  outcome: Outcome;
  /** The answer's text; empty unless the server gave one. */
  text: string;
  /** Why the outcome is not ok, in the server's words where it has some. */
  message?: string;
  /** Another attempt may end differently. */
  retry?: boolean;
  /** How long the server asked to wait, ms. */
  delayMs?: number;
  /** The server is overloaded or limits us: call less often. */
  throttle?: boolean;
  /** No later call can succeed either (key, quota, model name): stop the run. */
  fatal?: boolean;
  /** The connection broke after the request was sent: the server may have done, and billed, the work. */
  brokeOff?: boolean;
  finishReason?: string;
  /** Model as answered by the server. */
  model?: string;
  requestId?: string;
  usage?: Usage;
}

/** A failed attempt. */
export function failed(outcome: Exclude<Outcome, 'ok'>, message: string, more: Partial<Attempt> = {}): Attempt {
  return { outcome, text: '', message, ...more };
}

/** Statuses that every API uses for "try again". 429 is not here: it has a state of its own. */
export function isTransientStatus(status: number): boolean {
  return status === 408 || status === 409 || status >= 500;
}

/** The attempt with these secrets out of its message: servers like to repeat a key in their complaints. */
export function withoutSecrets<A extends Attempt>(attempt: A, secrets: readonly (string | undefined)[]): A {
  if (attempt.message === undefined) return attempt;
  let { message } = attempt;
  for (const secret of secrets)
    if (secret !== undefined && secret.length >= 8) message = message.replaceAll(secret, '***');
  return { ...attempt, message };
}
