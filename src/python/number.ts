// SPDX-License-Identifier: Apache-2.0
// Python's float(text) and round(x, digits).
// Checked against CPython by scripts/goldens/eval.py (fixtures/golden/eval/python.json).
import { OUTER_FLOAT_SPACES } from './text.ts';

const FLOAT = /^[+-]?(?:(?:\d+(?:_\d+)*)?\.?(?:\d+(?:_\d+)*)?(?:[eE][+-]?\d+(?:_\d+)*)?|inf|infinity|nan)$/i;

/** float(text), or undefined if Python raises ValueError. */
export function pythonFloat(text: string): number | undefined {
  const plain = text.replace(OUTER_FLOAT_SPACES, '').replace(/\p{Nd}/gu, (digit) => String(digitValue(digit)));
  if (!FLOAT.test(plain) || !/\d|inf|nan/i.test(plain) || /^[+-]?\.?e/i.test(plain)) return undefined;
  const bare = plain.replaceAll('_', '').toLowerCase();
  if (bare.endsWith('nan')) return Number.NaN;
  if (bare.includes('inf')) return bare.startsWith('-') ? Number.NEGATIVE_INFINITY : Number.POSITIVE_INFINITY;
  return Number(bare);
}

// Unicode has decimal digits in runs of ten, zero first; a run starts after a non-digit.
function digitValue(digit: string): number {
  const code = digit.codePointAt(0)!;
  if (code < 0x80) return code - 0x30;
  let start = code;
  while (/\p{Nd}/u.test(String.fromCodePoint(start - 1))) start -= 1;
  return (code - start) % 10;
}

/**
 * round(x, digits) of a float: to the nearest decimal of the double's exact value; an exact tie goes to the even digit.
 *   digits: 0..20.
 */
export function pythonRound(x: number, digits: number): number {
  if (!Number.isFinite(x) || Math.abs(x) >= 2 ** 52) return x;
  const { numerator, shift } = exactFraction(Math.abs(x));
  const scaled = numerator * 10n ** BigInt(digits);
  const unit = 1n << shift;
  let quotient = scaled >> shift;
  const twice = (scaled - (quotient << shift)) * 2n;
  if (twice > unit || (twice === unit && quotient % 2n === 1n)) quotient += 1n;
  const whole = quotient.toString().padStart(digits + 1, '0');
  const rounded = Number(`${whole.slice(0, whole.length - digits)}.${whole.slice(whole.length - digits)}`);
  return x < 0 || Object.is(x, -0) ? -rounded : rounded;
}

/** |x| = numerator / 2^shift, exactly. */
function exactFraction(x: number): { numerator: bigint; shift: bigint } {
  let shift = 0n;
  let scaled = x;
  while (!Number.isInteger(scaled)) {
    scaled *= 2;
    shift += 1n;
  }
  return { numerator: BigInt(scaled), shift };
}
