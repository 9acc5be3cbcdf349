// SPDX-License-Identifier: Apache-2.0
// The claims of a response, as the splitter returns them: {"claims": ["..."]}, a JSON list, or one per line.
import { type ReadResult, type ReplyReader, unread } from './reading.ts';

export const claimsReply: ReplyReader = { read: readClaims };

/** More claims mean that the model repeats itself without end. */
const MAX_CLAIMS = 100;

const MARKER = /^\s*(?:[-*\u2022]|\(?\d{1,3}[.)])\s+/;
const NOTHING = /^(?:none|no claims?|n\/a)\.?$/i;

function readClaims(text: string): ReadResult {
  const claims = jsonClaims(text) ?? lineClaims(text);
  if (claims === undefined || claims.some((claim) => claim === ''))
    return unread('{"claims": ["...", ...]} or one claim per line', text);
  if (claims.length > MAX_CLAIMS) return { problem: `expected at most ${MAX_CLAIMS} claims, got ${claims.length}` };
  // A repeated claim counts once.
  return { reading: { claims: [...new Set(claims)] } };
}

/** Undefined if the text is not JSON; [""] for JSON of another form. */
function jsonClaims(text: string): string[] | undefined {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return undefined;
  }
  const list = Array.isArray(value) ? value : (value as { claims?: unknown } | null)?.claims;
  const isList = Array.isArray(list) && list.every((claim) => typeof claim === 'string');
  return isList ? list.map((claim) => claim.trim()) : [''];
}

function lineClaims(text: string): string[] {
  const lines = text.split('\n').map((line) => line.replace(MARKER, '').trim());
  return lines.filter((line) => line !== '' && !NOTHING.test(line));
}
