// SPDX-License-Identifier: Apache-2.0
// Intervals and tests. Questions about one image are not independent, so everything is clustered by image.
import { randomStream } from '../../records/random.ts';

/** A question's contribution to the sums behind a figure. */
export interface Contribution {
  cluster: string;
  sums: number[];
}

export type Interval = [low: number, high: number];

/** The sums of each cluster, in order of first appearance. */
function clusterSums(contributions: readonly Contribution[]): number[][] {
  const clusters = new Map<string, number[]>();
  for (const { cluster, sums } of contributions) {
    const total = clusters.get(cluster);
    if (total === undefined) clusters.set(cluster, [...sums]);
    else for (let k = 0; k < sums.length; k++) total[k] = total[k]! + sums[k]!;
  }
  return [...clusters.values()];
}

function addUp(rows: readonly number[][]): number[] {
  const total = new Array<number>(rows[0]?.length ?? 0).fill(0);
  for (const row of rows) for (let k = 0; k < total.length; k++) total[k] = total[k]! + row[k]!;
  return total;
}

/**
 * 95 % interval of figure(sums): delete-one-cluster jackknife standard error, Student's t with clusters - 1 degrees of
 * freedom, clipped to `bounds`. Null with fewer than two clusters, or if the figure is undefined.
 */
export function clusteredInterval(
  contributions: readonly Contribution[],
  figure: (sums: readonly number[]) => number,
  bounds: Interval = [Number.NEGATIVE_INFINITY, Number.POSITIVE_INFINITY],
): { ci95: Interval | null; clusters: number } {
  const clusters = clusterSums(contributions);
  const total = addUp(clusters);
  const n = clusters.length;
  const estimate = n === 0 ? Number.NaN : figure(total);
  if (n < 2 || !Number.isFinite(estimate)) return { ci95: null, clusters: n };
  const without = new Array<number>(total.length);
  const deleted = clusters.map((sums) => {
    for (let k = 0; k < total.length; k++) without[k] = total[k]! - sums[k]!;
    return figure(without);
  });
  const defined = deleted.filter(Number.isFinite);
  if (defined.length < 2) return { ci95: null, clusters: n };
  const mean = defined.reduce((sum, value) => sum + value, 0) / defined.length;
  const squares = defined.reduce((sum, value) => sum + (value - mean) ** 2, 0);
  const halfWidth = studentQuantile975(n - 1) * Math.sqrt(((n - 1) / n) * squares);
  return { ci95: [Math.max(bounds[0], estimate - halfWidth), Math.min(bounds[1], estimate + halfWidth)], clusters: n };
}

/**
 * 95 % interval of a share in percent, sums = [hits, questions]: Wilson's with the effective sample size that the
 * clustered standard error implies, so 0 and 100 percent have a width above 0.
 */
export function shareInterval(contributions: readonly Contribution[]): { ci95: Interval | null; clusters: number } {
  const share = ([hits, questions]: readonly number[]) => hits! / questions!;
  const clusters = clusterSums(contributions);
  const n = clusters.length;
  const [hits = 0, questions = 0] = addUp(clusters);
  if (n < 2 || questions === 0) return { ci95: null, clusters: n };
  const p = share([hits, questions]);
  let squares = 0;
  for (const [clusterHits, clusterQuestions] of clusters as [number, number][])
    squares += (clusterHits - p * clusterQuestions) ** 2;
  const variance = (n / (n - 1)) * (squares / questions ** 2);
  const effective = variance > 0 ? (p * (1 - p)) / variance : n;
  const t = studentQuantile975(n - 1);
  const centre = (p + t ** 2 / (2 * effective)) / (1 + t ** 2 / effective);
  const spread = (p * (1 - p)) / effective + t ** 2 / (4 * effective ** 2);
  const halfWidth = (t / (1 + t ** 2 / effective)) * Math.sqrt(spread);
  return { ci95: [100 * Math.max(0, centre - halfWidth), 100 * Math.min(1, centre + halfWidth)], clusters: n };
}

const SMALL_T975 = [Number.POSITIVE_INFINITY, 12.7062047364, 4.3026527297, 3.1824463053, 2.7764451052, 2.5705818356];

/** The 0.975 quantile of Student's t. Source: Fisher-Cornish expansion (Abramowitz & Stegun 26.7.5) from 6 degrees on. */
export function studentQuantile975(degrees: number): number {
  if (degrees < SMALL_T975.length) return SMALL_T975[degrees]!;
  const z = 1.959963984540054;
  const g1 = (z ** 3 + z) / 4;
  const g2 = (5 * z ** 5 + 16 * z ** 3 + 3 * z) / 96;
  const g3 = (3 * z ** 7 + 19 * z ** 5 + 17 * z ** 3 - 15 * z) / 384;
  const g4 = (79 * z ** 9 + 776 * z ** 7 + 1482 * z ** 5 - 1920 * z ** 3 - 945 * z) / 92160;
  return z + g1 / degrees + g2 / degrees ** 2 + g3 / degrees ** 3 + g4 / degrees ** 4;
}

/** Two-sided exact sign test (for right and wrong: McNemar's): wins against losses under a fair coin, ties dropped. */
export function signTest(wins: number, losses: number): number {
  const n = wins + losses;
  let logChoose = 0;
  let tail = 0;
  for (let k = 0; k <= Math.min(wins, losses); k++) {
    if (k > 0) logChoose += Math.log((n - k + 1) / k);
    tail += Math.exp(logChoose - n * Math.LN2);
  }
  return Math.min(1, 2 * tail);
}

/**
 * Cluster bootstrap of a mean of paired differences: percentile interval, and the two-sided p-value of no difference
 * (share of centred resampled means that are at least as extreme; never 0).
 *   contributions: sums = [difference, questions].
 */
export function bootstrapDifference(
  contributions: readonly Contribution[],
  resamples: number,
  seed: number,
): { ci95: Interval | null; p_value: number | null } {
  const clusters = clusterSums(contributions) as [number, number][];
  const n = clusters.length;
  if (n < 2) return { ci95: null, p_value: null };
  const [difference, questions] = addUp(clusters) as [number, number];
  const mean = difference / questions;
  const differences = Float64Array.from(clusters, ([value]) => value);
  const counts = Float64Array.from(clusters, ([, value]) => value);
  const nextUint32 = fastStream(seed);
  const means = new Float64Array(resamples);
  let asFar = 0;
  for (let k = 0; k < resamples; k++) {
    let sum = 0;
    let count = 0;
    for (let draw = 0; draw < n; draw++) {
      // The bias of this index is below n / 2^32.
      const cluster = Math.floor((nextUint32() / 2 ** 32) * n);
      sum += differences[cluster]!;
      count += counts[cluster]!;
    }
    means[k] = sum / count;
    if (Math.abs(means[k]! - mean) >= Math.abs(mean) - 1e-12) asFar += 1;
  }
  means.sort();
  const at = (share: number) => means[Math.min(resamples - 1, Math.floor(share * resamples))]!;
  return { ci95: [at(0.025), at(0.975)], p_value: (asFar + 1) / (resamples + 1) };
}

/** sfc32 (Chris Doty-Humphrey's PractRand), seeded from the counter-based stream: a bootstrap takes 10^8 draws. */
function fastStream(seed: number): () => number {
  const words = randomStream(seed, 'eval compare', 'bootstrap');
  let a = words.nextUint32();
  let b = words.nextUint32();
  let c = words.nextUint32();
  let counter = 1;
  return () => {
    const sum = (a + b + counter) | 0;
    counter = (counter + 1) | 0;
    a = b ^ (b >>> 9);
    b = (c + (c << 3)) | 0;
    c = (((c << 21) | (c >>> 11)) + sum) | 0;
    return sum >>> 0;
  };
}

/** Mean of numbers; NaN of none. */
export function meanOf(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

/** Median; NaN of none. */
export function medianOf(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  if (sorted.length === 0) return Number.NaN;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}
