// SPDX-License-Identifier: Apache-2.0
// random.Random: CPython's Mersenne twister, which official scripts use.
import { createHash } from 'node:crypto';

const STATE_WORDS = 624;

/** random.Random(seed): Mersenne twister, seeded as CPython 3.2+ seeds it from a string or an integer. */
export interface PythonRandom {
  /** random(): [0, 1), 53 bits. */
  random(): number;
  /** getrandbits(bits), bits in 1..32. */
  getRandomBits(bits: number): number;
  /** choice(values). */
  choice<T>(values: readonly T[]): T;
  /** choices(values, k=1)[0]: another draw than choice. */
  chooseOne<T>(values: readonly T[]): T;
  /** shuffle(values), in place. */
  shuffle(values: unknown[]): void;
  /** sample(values, count). */
  sample<T>(values: readonly T[], count: number): T[];
}

export function pythonRandom(seed: string | number): PythonRandom {
  const state = seedByArray(seedWords(seed));
  let used = STATE_WORDS;

  function nextWord(): number {
    if (used === STATE_WORDS) {
      twist(state);
      used = 0;
    }
    let word = state[used++]!;
    word ^= word >>> 11;
    word ^= (word << 7) & 0x9d2c5680;
    word ^= (word << 15) & 0xefc60000;
    return (word ^ (word >>> 18)) >>> 0;
  }
  const random = () => {
    const high = nextWord() >>> 5;
    const low = nextWord() >>> 6;
    return (high * 2 ** 26 + low) / 2 ** 53;
  };
  const getRandomBits = (bits: number) => nextWord() >>> (32 - bits);
  function below(n: number): number {
    const bits = 32 - Math.clz32(n);
    for (;;) {
      const draw = getRandomBits(bits);
      if (draw < n) return draw;
    }
  }
  return {
    random,
    getRandomBits,
    choice: (values) => values[below(values.length)]!,
    chooseOne: (values) => values[Math.floor(random() * values.length)]!,
    shuffle(values) {
      for (let last = values.length - 1; last > 0; last--) {
        const other = below(last + 1);
        [values[last], values[other]] = [values[other], values[last]];
      }
    },
    sample(values, count) {
      const n = values.length;
      // CPython uses a pool for small populations and a set of indexes for large ones, with different results.
      const setSize = 21 + (count > 5 ? 4 ** Math.ceil(Math.log(count * 3) / Math.log(4)) : 0);
      if (n <= setSize) {
        const pool = [...values];
        return Array.from({ length: count }, (_, k) => {
          const index = below(n - k);
          const value = pool[index]!;
          pool[index] = pool[n - k - 1]!;
          return value;
        });
      }
      const taken = new Set<number>();
      return Array.from({ length: count }, () => {
        let index = below(n);
        while (taken.has(index)) index = below(n);
        taken.add(index);
        return values[index]!;
      });
    },
  };
}

/** The seed's absolute value as 32-bit words, least significant first. A string s stands for s + SHA-512(s). */
function seedWords(seed: string | number): number[] {
  let value: bigint;
  if (typeof seed === 'number') value = BigInt(Math.abs(seed));
  else {
    const bytes = Buffer.from(seed, 'utf8');
    const digest = createHash('sha512').update(bytes).digest();
    value = BigInt(`0x${Buffer.concat([bytes, digest]).toString('hex')}`);
  }
  const words: number[] = [];
  do {
    words.push(Number(value & 0xffffffffn));
    value >>= 32n;
  } while (value > 0n);
  return words;
}

function seedByArray(key: number[]): Uint32Array {
  const state = new Uint32Array(STATE_WORDS);
  state[0] = 19650218;
  for (let i = 1; i < STATE_WORDS; i++) {
    const last = state[i - 1]!;
    state[i] = Math.imul(1812433253, last ^ (last >>> 30)) + i;
  }
  let i = 1;
  let j = 0;
  const advance = () => {
    i += 1;
    if (i >= STATE_WORDS) {
      state[0] = state[STATE_WORDS - 1]!;
      i = 1;
    }
  };
  for (let k = Math.max(STATE_WORDS, key.length); k > 0; k--) {
    const last = state[i - 1]!;
    state[i] = (state[i]! ^ Math.imul(last ^ (last >>> 30), 1664525)) + key[j]! + j;
    advance();
    j = (j + 1) % key.length;
  }
  for (let k = STATE_WORDS - 1; k > 0; k--) {
    const last = state[i - 1]!;
    state[i] = (state[i]! ^ Math.imul(last ^ (last >>> 30), 1566083941)) - i;
    advance();
  }
  state[0] = 0x80000000;
  return state;
}

function twist(state: Uint32Array): void {
  for (let i = 0; i < STATE_WORDS; i++) {
    const bits = (state[i]! & 0x80000000) | (state[(i + 1) % STATE_WORDS]! & 0x7fffffff);
    state[i] = state[(i + 397) % STATE_WORDS]! ^ (bits >>> 1) ^ (bits & 1 ? 0x9908b0df : 0);
  }
}
