// SPDX-License-Identifier: Apache-2.0
// Flags that hold lists: NAME,NAME and [SOURCE=]N.
import { Flags } from '@oclif/core';
import { UsageError } from '../records/error.ts';
import type { Limit } from '../stages/import/select.ts';

/** "a,b" -> [a, b]; an empty name is an error. */
export const listFlag = Flags.custom<string[]>({
  parse: async (text, _context, { name }) => {
    const items = text.split(',').map((item) => item.trim());
    if (items.includes(''))
      throw new UsageError(`--${name}: expected names joined by commas, got ${JSON.stringify(text)}`);
    return items;
  },
});

/** Limits from "[SOURCE=]N" texts, each source once. Throws UsageError naming the flag. */
export function parseLimits(flag: string, texts: readonly string[]): Limit[] {
  const limits = texts.map((text) => {
    const { key: source, value } = splitSource(text);
    if (!/^\d+$/.test(value)) throw new UsageError(`${flag}: expected [SOURCE=]N, got ${JSON.stringify(text)}`);
    return { ...(source !== undefined && { source }), count: Number(value) };
  });
  checkOncePerSource(flag, limits);
  return limits;
}

/** "SOURCE=REST" or "REST". */
export function splitSource(text: string): { key?: string; value: string } {
  const equals = text.indexOf('=');
  return equals <= 0 ? { value: text } : { key: text.slice(0, equals), value: text.slice(equals + 1) };
}

/** Throws UsageError if a source (or "all") is limited twice. */
export function checkOncePerSource(flag: string, items: readonly { source?: string }[]): void {
  const seen = new Set<string | undefined>();
  for (const { source } of items) {
    if (seen.has(source)) throw new UsageError(`${flag}: expected ${source ?? 'a value for all'} once, got it twice`);
    seen.add(source);
  }
}
