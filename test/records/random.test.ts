// SPDX-License-Identifier: Apache-2.0
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { hashKeys, philox4x32, randomStream } from '../../src/records/random.ts';

type Words<N extends number> = N extends 4 ? [number, number, number, number] : [number, number];

// Known answers published with Random123 (kat_vectors, philox4x32 10).
const knownAnswers: { counter: Words<4>; key: Words<2>; expected: number[] }[] = [
  { counter: [0, 0, 0, 0], key: [0, 0], expected: [0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8] },
  {
    counter: [0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff],
    key: [0xffffffff, 0xffffffff],
    expected: [0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd],
  },
  {
    counter: [0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344],
    key: [0xa4093822, 0x299f31d0],
    expected: [0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1],
  },
];

test('philox4x32 gives the published known answers', () => {
  for (const { counter, key, expected } of knownAnswers) {
    const out = new Uint32Array(4);
    philox4x32(out, counter, key);
    assert.deepEqual([...out], expected);
  }
});

test('hashKeys is FNV-1a 64 over the keys, each ended by 0xff', () => {
  const bigint = (keys: string[]) => {
    let hash = 0xcbf29ce484222325n;
    for (const key of keys)
      for (const byte of [...Buffer.from(key), 0xff])
        hash = ((hash ^ BigInt(byte)) * 0x100000001b3n) & 0xffffffffffffffffn;
    return [Number(hash & 0xffffffffn), Number(hash >> 32n)];
  };
  for (const keys of [
    [],
    [''],
    ['a'],
    ['q1', 'crop'],
    ['q1crop'],
    ['caf\u00e9', '\u{1f600}'],
    ['x'.repeat(5000)],
    ['ascii then \u00e9\u{1f600} and ascii'],
  ])
    assert.deepEqual(hashKeys(keys), bigint(keys));
});

test('a stream depends on seed and keys alone, and keys do not run together', () => {
  const draw = (seed: number, ...keys: string[]) => {
    const stream = randomStream(seed, ...keys);
    return Array.from({ length: 9 }, () => stream.nextUint32());
  };
  assert.deepEqual(draw(7, 'q1', 'crop'), draw(7, 'q1', 'crop'));
  const streams = [draw(7, 'q1', 'crop'), draw(8, 'q1', 'crop'), draw(7, 'q1c', 'rop'), draw(7, 'crop', 'q1')];
  streams.push(draw(7 + 2 ** 32, 'q1', 'crop'));
  assert.equal(new Set(streams.map(String)).size, streams.length);
});

test('first draws are frozen: data made with a seed stays reproducible across releases', () => {
  const stream = randomStream(1, 'q1', 'pair');
  const draws = [stream.nextUint32(), stream.nextFloat(), stream.nextInt(10), stream.nextInt(1)];
  assert.deepEqual(draws, [3501002573, 0.9070919860899956, 8, 0]);
});

test('nextFloat fills [0, 1) with 53 bits; nextInt reaches every value about equally often', () => {
  const stream = randomStream(3, 'uniform');
  const floats = Array.from({ length: 20_000 }, () => stream.nextFloat());
  assert.ok(floats.every((x) => x >= 0 && x < 1));
  const mean = floats.reduce((sum, x) => sum + x, 0) / floats.length;
  // The standard error of the mean of 20,000 uniform draws is 0.00204.
  assert.ok(Math.abs(mean - 0.5) < 5 * 0.00204, `mean ${mean}`);
  assert.ok(floats.some((x) => (x * 2 ** 32) % 1 !== 0));
  const counts = new Array<number>(6).fill(0);
  for (let i = 0; i < 60_000; i++) counts[stream.nextInt(6)]! += 1;
  // Chi-square with 5 degrees of freedom exceeds 25.7 once in 10,000.
  const chiSquare = counts.reduce((sum, n) => sum + (n - 10_000) ** 2 / 10_000, 0);
  assert.ok(chiSquare < 25.7, `chi-square ${chiSquare}`);
});

test('seeds and bounds that cannot be drawn from are refused', () => {
  for (const seed of [-1, 1.5, Number.NaN, 2 ** 53]) assert.throws(() => randomStream(seed), RangeError);
  for (const n of [0, -3, 1.5, 2 ** 32 + 1]) assert.throws(() => randomStream(0).nextInt(n), RangeError);
});
