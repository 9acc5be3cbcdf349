// SPDX-License-Identifier: Apache-2.0
// The delay that a server requests, from the headers and bodies of the major APIs.

/** Header names in lower case. */
export type Headers = Record<string, string | string[] | undefined>;

/** The first value of a header. */
export function headerValue(headers: Headers, name: string): string | undefined {
  const value = headers[name];
  return Array.isArray(value) ? value[0] : value;
}

/**
 * Milliseconds to wait; undefined if the server sends no delay. Reads retry-after-ms, Retry-After (seconds or
 * a date, relative to the server's Date header, so a wrong local clock does no harm), Google's
 * RetryInfo, and the reset headers of exhausted limits.
 */
export function serverDelayMs(headers: Headers, body?: unknown): number | undefined {
  const ms = positive(headerValue(headers, 'retry-after-ms'));
  if (ms !== undefined) return ms;
  const after = headerValue(headers, 'retry-after');
  if (after !== undefined) {
    const seconds = positive(after);
    if (seconds !== undefined) return seconds * 1000;
    const date = untilDate(after, headers);
    if (date !== undefined) return date;
  }
  return retryInfoMs(body) ?? resetMs(headers);
}

function positive(text: string | undefined): number | undefined {
  if (text === undefined || !/^\s*\d+(\.\d+)?\s*$/.test(text)) return undefined;
  return Number(text);
}

function untilDate(text: string, headers: Headers): number | undefined {
  // An HTTP date or RFC 3339; Date.parse alone reads "-3" as a year.
  const at = /^[A-Za-z]{3},|^\d{4}-\d\d-/.test(text) ? Date.parse(text) : Number.NaN;
  if (Number.isNaN(at)) return undefined;
  const sent = Date.parse(headerValue(headers, 'date') ?? '');
  return Math.max(0, at - (Number.isNaN(sent) ? Date.now() : sent));
}

/** error.details[] of type google.rpc.RetryInfo; retryDelay is "45.83s". */
function retryInfoMs(body: unknown): number | undefined {
  const details = (body as { error?: { details?: unknown } } | null | undefined)?.error?.details;
  if (!Array.isArray(details)) return undefined;
  for (const detail of details as { '@type'?: unknown; retryDelay?: unknown }[]) {
    if (!String(detail?.['@type'] ?? '').endsWith('google.rpc.RetryInfo')) continue;
    const delay = parseDuration(String(detail.retryDelay ?? ''));
    if (delay !== undefined) return delay;
  }
  return undefined;
}

/** x-ratelimit-reset-* (OpenAI, durations) and anthropic-ratelimit-*-reset (RFC 3339), of exhausted limits. */
function resetMs(headers: Headers): number | undefined {
  const waits: number[] = [];
  for (const [name, value] of Object.entries(headers)) {
    const match = /^(x-ratelimit)-remaining-(.+)$|^(anthropic-ratelimit)-(.+)-remaining$/.exec(name);
    if (match === null || Number(Array.isArray(value) ? value[0] : value) > 0) continue;
    const reset = match[1]
      ? parseDuration(headerValue(headers, `x-ratelimit-reset-${match[2]}`) ?? '')
      : untilDate(headerValue(headers, `anthropic-ratelimit-${match[4]}-reset`) ?? '', headers);
    if (reset !== undefined) waits.push(reset);
  }
  return waits.length > 0 ? Math.max(...waits) : undefined;
}

const UNIT_MS: Record<string, number> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** "6m0s", "45.83s", "120ms", "1d2h" in milliseconds; undefined if it is not a duration. */
export function parseDuration(text: string): number | undefined {
  if (!/^(\d+(\.\d+)?(ms|s|m|h|d))+$/.test(text)) return undefined;
  let total = 0;
  for (const [, amount, unit] of text.matchAll(/(\d+(?:\.\d+)?)(ms|s|m|h|d)/g))
    total += Number(amount) * UNIT_MS[unit!]!;
  return total;
}
