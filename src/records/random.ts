// SPDX-License-Identifier: Apache-2.0
// Counter-based random numbers: a record's draws depend only on the seed and its keys,
// never on order, sharding or resumes.

/** A stream of draws. Two streams with the same seed and keys give the same numbers. */
export interface RandomStream {
  nextUint32(): number;
  /** Uniform in [0, 1), 53 bits. */
  nextFloat(): number;
  /** Uniform integer in [0, n), without bias; n in 1..2^32. */
  nextInt(n: number): number;
}

/**
 * The stream of (seed, keys): Philox 4x32-10 with key = FNV-1a 64 of the keys and counter = (block, seed).
 *   seed: whole number in [0, 2^53).   Source: Salmon et al., "Parallel random numbers: as easy as 1, 2, 3" (SC 2011).
 */
export function randomStream(seed: number, ...keys: string[]): RandomStream {
  if (!Number.isSafeInteger(seed) || seed < 0)
    throw new RangeError(`seed: expected an integer in [0, 2^53), got ${seed}`);
  const [keyLow, keyHigh] = hashKeys(keys);
  const seedLow = seed >>> 0;
  const seedHigh = Math.floor(seed / 2 ** 32);
  const block = new Uint32Array(4);
  let numBlocks = 0;
  let used = 4;

  function nextUint32(): number {
    if (used === 4) {
      philox4x32(block, [numBlocks >>> 0, Math.floor(numBlocks / 2 ** 32), seedLow, seedHigh], [keyLow, keyHigh]);
      numBlocks += 1;
      used = 0;
    }
    return block[used++]!;
  }
  function nextFloat(): number {
    const high = nextUint32() >>> 5;
    const low = nextUint32() >>> 6;
    return (high * 2 ** 26 + low) / 2 ** 53;
  }
  function nextInt(n: number): number {
    if (!Number.isInteger(n) || n < 1 || n > 2 ** 32)
      throw new RangeError(`n: expected an integer in 1..2^32, got ${n}`);
    // Draws at or above the largest multiple of n would favour small results.
    const limit = 2 ** 32 - (2 ** 32 % n);
    for (;;) {
      const draw = nextUint32();
      if (draw < limit) return draw % n;
    }
  }
  return { nextUint32, nextFloat, nextInt };
}

/** One Philox 4x32-10 block: out = philox(counter, key), all 32-bit words, least significant first. */
export function philox4x32(
  out: Uint32Array,
  counter: readonly [number, number, number, number],
  key: readonly [number, number],
): void {
  let [c0, c1, c2, c3] = counter;
  let [k0, k1] = key;
  for (let round = 0; round < 10; round++) {
    const [high0, low0] = multiply32(0xd2511f53, c0);
    const [high1, low1] = multiply32(0xcd9e8d57, c2);
    c0 = (high1 ^ c1 ^ k0) >>> 0;
    c1 = low1;
    c2 = (high0 ^ c3 ^ k1) >>> 0;
    c3 = low0;
    k0 = (k0 + 0x9e3779b9) >>> 0;
    k1 = (k1 + 0xbb67ae85) >>> 0;
  }
  out[0] = c0;
  out[1] = c1;
  out[2] = c2;
  out[3] = c3;
}

/** RNG key of the engine's draws. */
export function rngKey(text: string): bigint {
  const [low, high] = hashKeys([text]);
  return (BigInt(high) << 32n) | BigInt(low);
}

/** 64-bit FNV-1a of the keys' UTF-8 bytes, each key ended by 0xff (a byte that UTF-8 never has), as [low, high]. */
export function hashKeys(keys: readonly string[]): [low: number, high: number] {
  let low = 0x84222325;
  let high = 0xcbf29ce4;
  const mix = (byte: number) => {
    low = (low ^ byte) >>> 0;
    // Times the FNV prime 2^40 + 0x1b3, modulo 2^64; the lower product is below 2^42.
    const product = low * 0x1b3;
    high = (Math.imul(high, 0x1b3) + Math.floor(product / 2 ** 32) + (low << 8)) >>> 0;
    low = product >>> 0;
  };
  for (const key of keys) {
    let at = 0;
    for (; at < key.length && key.charCodeAt(at) < 0x80; at++) mix(key.charCodeAt(at));
    if (at < key.length) for (const byte of encoder.encode(key.slice(at))) mix(byte);
    mix(0xff);
  }
  return [low, high];
}

const encoder = new TextEncoder();

function multiply32(a: number, b: number): [high: number, low: number] {
  const aLow = a & 0xffff;
  const aHigh = a >>> 16;
  const middle = aHigh * (b & 0xffff) + ((aLow * (b & 0xffff)) >>> 16);
  const cross = aLow * (b >>> 16) + (middle & 0xffff);
  return [
    (aHigh * (b >>> 16) + Math.floor(middle / 0x10000) + Math.floor(cross / 0x10000)) >>> 0,
    Math.imul(a, b) >>> 0,
  ];
}
