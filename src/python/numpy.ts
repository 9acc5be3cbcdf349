// SPDX-License-Identifier: Apache-2.0
// numpy's sums and rounding, which official scorers use.

/** numpy.round(x, digits): scales, rounds half to even, scales back; not the nearest decimal. */
export function numpyRound(x: number, digits: number): number {
  const factor = 10 ** digits;
  return roundHalfEven(x * factor) / factor;
}

/** numpy.rint. */
export function roundHalfEven(x: number): number {
  const floor = Math.floor(x);
  const rest = x - floor;
  if (rest !== 0.5) return Math.round(x);
  return floor % 2 === 0 ? floor : floor + 1;
}

/** numpy.sum of a contiguous float array: pairwise, in blocks of eight accumulators. */
function numpySum(values: ArrayLike<number>, start = 0, length = values.length): number {
  if (length < 8) {
    let sum = 0;
    for (let index = start; index < start + length; index++) sum += values[index]!;
    return sum;
  }
  if (length > 128) {
    const half = Math.floor(length / 2);
    const left = half - (half % 8);
    return numpySum(values, start, left) + numpySum(values, start + left, length - left);
  }
  const parts = Array.from({ length: 8 }, (_, k) => values[start + k]!);
  const whole = length - (length % 8);
  for (let index = 8; index < whole; index += 8)
    for (let k = 0; k < 8; k++) parts[k] = parts[k]! + values[start + index + k]!;
  const [a, b, c, d, e, f, g, h] = parts as [number, number, number, number, number, number, number, number];
  let sum = a + b + (c + d) + (e + f + (g + h));
  for (let index = whole; index < length; index++) sum += values[start + index]!;
  return sum;
}

/** numpy.mean. */
export function numpyMean(values: ArrayLike<number>): number {
  return numpySum(values) / values.length;
}

/** numpy.std: population form. */
export function numpyStd(values: ArrayLike<number>): number {
  const mean = numpyMean(values);
  return Math.sqrt(numpyMean(Array.from(values, (value) => (value - mean) * (value - mean))));
}
