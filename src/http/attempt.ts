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
  /** Retry at once, in another form; the attempt does not count. */
  again?: boolean;
  /** No whole answer came though the request was sent: the server may have done, and billed, the work. */
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

/** Tokens as a server counts them; undefined unless all that costs is a count, and something was counted. */
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

/** The attempt with its text cut where a stop text begins, for models that do not get it. */
export function cutAtStop<A extends { text: string }>(attempt: A, stop: readonly string[] = []): A {
  const ends = stop.map((mark) => attempt.text.indexOf(mark)).filter((end) => end >= 0);
  return ends.length === 0 ? attempt : { ...attempt, text: attempt.text.slice(0, Math.min(...ends)) };
}

/** Characters of a server's complaint that are kept. */
export const MAX_MESSAGE = 500;

/**
 * The attempt with these secrets out of everything that is shown or kept (servers like to repeat a key), and then its
 * message cut: a cut before would leave half a key.
 */
export function withoutSecrets<A extends Attempt>(attempt: A, secrets: readonly (string | undefined)[]): A {
  const clean = hideIn(attempt, secretForms(secrets)) as A;
  return clean.message === undefined ? clean : { ...clean, message: clean.message.slice(0, MAX_MESSAGE) };
}

/** A server's whole text without these secrets. */
export function hideSecrets(text: string, secrets: readonly (string | undefined)[]): string {
  return hideIn(text, secretForms(secrets)) as string;
}

function hideIn(value: unknown, forms: readonly string[]): unknown {
  if (typeof value === 'string') return forms.reduce((text, form) => text.replaceAll(form, '***'), value);
  if (Array.isArray(value)) return value.map((item) => hideIn(item, forms));
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([name, item]) => [name, hideIn(item, forms)]));
}

/** Spellings of a secret: plain, in JSON, in a URL and in a log; longest first. Very short ones are skipped: they are words. */
function secretForms(secrets: readonly (string | undefined)[]): string[] {
  const long = secrets.filter((secret) => secret !== undefined && secret.length >= 8) as string[];
  const forms = long.flatMap((secret) => {
    const json = JSON.stringify(secret).slice(1, -1);
    return [secret, json, json.replaceAll('/', '\\/'), encodeURIComponent(secret)];
  });
  return [...new Set(forms)].sort((a, b) => b.length - a.length);
}
