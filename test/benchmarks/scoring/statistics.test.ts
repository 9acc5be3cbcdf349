// SPDX-License-Identifier: Apache-2.0
import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  bootstrapDifference,
  clusteredInterval,
  medianOf,
  shareInterval,
  signTest,
  studentQuantile975,
} from '../../../src/benchmarks/scoring/statistics.ts';
import { randomStream } from '../../../src/records/random.ts';

const near = (got: number, expected: number, tolerance: number) =>
  assert.ok(Math.abs(got - expected) <= tolerance, `expected ${expected}, got ${got}`);

test("Student's t: table values", () => {
  const table: [number, number][] = [
    [1, 12.7062],
    [5, 2.5706],
    [6, 2.4469],
    [10, 2.2281],
    [30, 2.0423],
    [120, 1.9799],
    [1e6, 1.96],
  ];
  for (const [degrees, quantile] of table) near(studentQuantile975(degrees), quantile, 1e-4);
});

test('a mean of independent values: the jackknife is the textbook interval', () => {
  const values = [3, 5, 8, 9, 10];
  const { ci95, clusters } = clusteredInterval(
    values.map((value, k) => ({ cluster: String(k), sums: [value, 1] })),
    ([sum, count]) => sum! / count!,
  );
  // mean 7, s^2 = (16 + 4 + 1 + 4 + 9) / 4 = 8.5, standard error sqrt(8.5 / 5), t(4) = 2.7764
  const half = 2.7764451052 * Math.sqrt(8.5 / 5);
  near(ci95![0], 7 - half, 1e-9);
  near(ci95![1], 7 + half, 1e-9);
  assert.equal(clusters, 5);
});

test('copies of a question in its cluster add no certainty', () => {
  const once = [1, 0, 1, 1, 0, 1].map((hit, k) => ({ cluster: String(k), sums: [hit, 1] }));
  const thrice = once.flatMap((one) => [one, one, one]);
  for (const k of [0, 1]) near(shareInterval(thrice).ci95![k]!, shareInterval(once).ci95![k]!, 1e-9);
  const independent = thrice.map((one, k) => ({ ...one, cluster: String(k) }));
  const width = ({ ci95 }: { ci95: [number, number] | null }) => ci95![1] - ci95![0];
  assert.ok(width(shareInterval(independent)) < 0.75 * width(shareInterval(thrice)));
});

test('everything right is no certainty; one cluster gives no interval', () => {
  const all = Array.from({ length: 10 }, (_, k) => ({ cluster: String(k), sums: [1, 1] }));
  const { ci95 } = shareInterval(all);
  assert.equal(ci95![1], 100);
  assert.ok(ci95![0] > 50 && ci95![0] < 75, `${ci95![0]}`);
  assert.deepEqual(shareInterval([{ cluster: 'a', sums: [1, 1] }]), { ci95: null, clusters: 1 });
  assert.deepEqual(shareInterval([]), { ci95: null, clusters: 0 });
});

test('the 95 % interval covers the truth about 95 times in 100', () => {
  let covered = 0;
  for (let trial = 0; trial < 400; trial++) {
    const stream = randomStream(trial, 'coverage');
    const contributions = Array.from({ length: 40 }, (_, cluster) => {
      const p = stream.nextFloat() < 0.5 ? 0.9 : 0.5; // questions of an image are alike; 0.7 on the whole
      return Array.from({ length: 6 }, () => ({ cluster: String(cluster), sums: [+(stream.nextFloat() < p), 1] }));
    }).flat();
    const [low, high] = shareInterval(contributions).ci95!;
    covered += +(low <= 70 && 70 <= high);
  }
  assert.ok(covered >= 368 && covered <= 394, `${covered} of 400`);
});

test('sign test: exact binomial tails', () => {
  assert.equal(signTest(0, 0), 1);
  assert.equal(signTest(5, 5), 1);
  near(signTest(0, 5), 2 / 32, 1e-15);
  near(signTest(9, 1), (2 * (1 + 10)) / 1024, 1e-15);
  near(signTest(60, 40), 0.056887933640981, 1e-9);
  assert.ok(signTest(2000, 1000) > 0 && signTest(2000, 1000) < 1e-70);
});

test('bootstrap of a difference: centre, seed, no difference, certainty', () => {
  const make = (values: number[]) => values.map((value, k) => ({ cluster: String(k), sums: [value, 1] }));
  const mixed = make([1, 0, 1, 1, -1, 0, 1, 0, 1, 0, 0, 1]);
  const first = bootstrapDifference(mixed, 2000, 1);
  assert.deepEqual(bootstrapDifference(mixed, 2000, 1), first);
  assert.ok(first.ci95![0] <= 5 / 12 && first.ci95![1] >= 5 / 12);
  assert.equal(bootstrapDifference(make([1, -1, 1, -1, 0]), 500, 0).p_value, 1);
  assert.ok(bootstrapDifference(make([1, 1, 1, 0, 1, 1, 1, 1, 0, 1]), 2000, 0).p_value! < 0.01);
  assert.deepEqual(bootstrapDifference(make([1]), 500, 0), { ci95: null, p_value: null });
});

test('median', () => {
  assert.equal(medianOf([3, 1, 2]), 2);
  assert.equal(medianOf([4, 1, 2, 3]), 2.5);
  assert.ok(Number.isNaN(medianOf([])));
});
