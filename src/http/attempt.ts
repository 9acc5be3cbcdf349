// SPDX-License-Identifier: Apache-2.0
// The result of one call to a text-generating server, independent of the server's API.
import type { Outcome } from '../records/record.ts';

/** Tokens as the server counted them. */
export interface Usage {
  input_tokens: number;
  output_tokens: number;
  /** Hidden reasoning tokens, included in output_tokens. */
  reasoning_tokens?: number;
  /** Input tokens from the provider's prompt cache, included in input_tokens. */
  cached_tokens?: number;
}

/** One finished attempt. Never thrown: a failure is a state. */
export interface Attempt {
  outcome: Outcome;
  /** The reply's text; empty if there is none. */
  text: string;
  /** The reason if the outcome is not ok, in the server's words if available. */
  message?: string;
  /** Whether another attempt may succeed. */
  retry?: boolean;
  /** Delay that the server requested, ms. */
  delayMs?: number;
  /** The server is overloaded or limits the rate: send fewer calls. */
  throttle?: boolean;
  /** No later call can succeed (key, quota, model name): stop the run. */
  fatal?: boolean;
  /** Retry at once in another form; the attempt is not counted. */
  again?: boolean;
  /** The request was sent and no complete reply arrived: the server may have done and billed the work. */
  brokeOff?: boolean;
  finishReason?: string;
  /** Model name in the server's reply. */
  model?: string;
  requestId?: string;
  usage?: Usage;
}

/** A failed attempt. */
export function failed(outcome: Exclude<Outcome, 'ok'>, message: string, more: Partial<Attempt> = {}): Attempt {
  return { outcome, text: '', message, ...more };
}

/** Statuses that mean "try again" in every API. 429 is excluded, because it has a separate state. */
export function isTransientStatus(status: number): boolean {
  return status === 408 || status === 409 || status >= 500;
}

/** Tokens as a server counts them; undefined unless all billed numbers are counts, and one is above 0. */
export function readUsage(
  counts: Record<'input' | 'output', unknown> & Partial<Record<'reasoning' | 'cached', unknown>>,
) {
  const { input, output, reasoning, cached } = counts;
  if (!isCount(input) || !isCount(output) || input + output === 0) return undefined;
  const usage: Usage = { input_tokens: input, output_tokens: output };
  if (isCount(reasoning) && reasoning > 0) usage.reasoning_tokens = reasoning;
  if (isCount(cached) && cached > 0) usage.cached_tokens = cached;
  return usage;
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

/** The attempt with its text cut at the first stop text, for models that do not accept stop texts. */
export function cutAtStop<A extends { text: string }>(attempt: A, stop: readonly string[] = []): A {
  const ends = stop.map((mark) => attempt.text.indexOf(mark)).filter((end) => end >= 0);
  return ends.length === 0 ? attempt : { ...attempt, text: attempt.text.slice(0, Math.min(...ends)) };
}

/** Maximum characters of a server's message. */
export const MAX_MESSAGE = 500;

/**
 * The attempt without these secrets (some servers repeat the key), and with its message cut.
 * Secrets are removed first, because a cut could leave half a key.
 */
export function withoutSecrets<A extends Attempt>(attempt: A, secrets: readonly (string | undefined)[]): A {
  const clean = hideIn(attempt, secretForms(secrets)) as A;
  return clean.message === undefined ? clean : { ...clean, message: clean.message.slice(0, MAX_MESSAGE) };
}

/** A server's full text without these secrets. */
export function hideSecrets(text: string, secrets: readonly (string | undefined)[]): string {
  return hideIn(text, secretForms(secrets)) as string;
}

function hideIn(value: unknown, forms: readonly string[]): unknown {
  if (typeof value === 'string') return forms.reduce((text, form) => text.replaceAll(form, '***'), value);
  if (Array.isArray(value)) return value.map((item) => hideIn(item, forms));
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([name, item]) => [name, hideIn(item, forms)]));
}

/** Spellings of a secret: plain, in JSON, in a URL and in a log; longest first. Very short ones are skipped, because they may be ordinary words. */
function secretForms(secrets: readonly (string | undefined)[]): string[] {
  const long = secrets.filter((secret) => secret !== undefined && secret.length >= 8) as string[];
  const forms = long.flatMap((secret) => {
    const json = JSON.stringify(secret).slice(1, -1);
    return [secret, json, json.replaceAll('/', '\\/'), encodeURIComponent(secret)];
  });
  return [...new Set(forms)].sort((a, b) => b.length - a.length);
}
