// SPDX-License-Identifier: Apache-2.0
// What Python does where JavaScript does something else: the official scorers are Python, accidents included.
// Checked against CPython and numpy by scripts/goldens/eval.py (fixtures/golden/eval/python.json).
import { createHash } from 'node:crypto';
import { noteNumbers } from '../../records/exact.ts';

/** str.isspace() and \s of Python's re, for a character class: JavaScript's \s lacks U+001C-U+001F and U+0085 and has U+FEFF. */
export const PYTHON_SPACE = '\\t-\\r\\x1c-\\x20\\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000';
const SPACES = new RegExp(`[${PYTHON_SPACE}]+`, 'u');
const OUTER_SPACES = new RegExp(`^[${PYTHON_SPACE}]+|[${PYTHON_SPACE}]+$`, 'gu');

const OUTER_FLOAT_SPACES = new RegExp(OUTER_SPACES.source.replaceAll('\\x1c-\\x20', ' '), 'gu');

/** str.strip(). */
export function pythonStrip(text: string): string {
  return text.replace(OUTER_SPACES, '');
}

/** str.split() without an argument: runs of white space part words, no empty words. */
export function pythonSplit(text: string): string[] {
  return text.split(SPACES).filter((word) => word !== '');
}

/** len(str): code points, not UTF-16 units. */
export function pythonLength(text: string): number {
  let length = text.length;
  for (let index = 0; index + 1 < text.length; index++) {
    const unit = text.charCodeAt(index);
    if (unit < 0xd800 || unit > 0xdbff) continue;
    const next = text.charCodeAt(index + 1);
    if (next < 0xdc00 || next > 0xdfff) continue;
    length -= 1;
    index += 1;
  }
  return length;
}

const FLOAT = /^[+-]?(?:(?:\d+(?:_\d+)*)?\.?(?:\d+(?:_\d+)*)?(?:[eE][+-]?\d+(?:_\d+)*)?|inf|infinity|nan)$/i;

/** float(text), or undefined where Python raises ValueError. */
export function pythonFloat(text: string): number | undefined {
  // float() strips less than str.strip(): not U+001C-U+001F.
  const plain = text.replace(OUTER_FLOAT_SPACES, '').replace(/\p{Nd}/gu, (digit) => String(digitValue(digit)));
  if (!FLOAT.test(plain) || !/\d|inf|nan/i.test(plain) || /^[+-]?\.?e/i.test(plain)) return undefined;
  const bare = plain.replaceAll('_', '').toLowerCase();
  if (bare.endsWith('nan')) return Number.NaN;
  if (bare.includes('inf')) return bare.startsWith('-') ? Number.NEGATIVE_INFINITY : Number.POSITIVE_INFINITY;
  return Number(bare);
}

// Unicode keeps decimal digits in runs of ten, zero first, each run starting where no digit stands before it.
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

/** json.loads: JSON, and the NaN, Infinity and -Infinity that json.dumps writes. Throws SyntaxError as JSON.parse. */
export function parsePythonJson(text: string): unknown {
  try {
    return withIds(JSON.parse(text), text);
  } catch (error) {
    let found = false;
    const mark = '\u0000python:';
    const quoted = text.replace(/"(?:[^"\\]|\\.)*"|-?\bInfinity\b|\bNaN\b/gs, (token) => {
      if (token.startsWith('"')) return token;
      found = true;
      return JSON.stringify(mark + token);
    });
    if (!found) throw error;
    const value = JSON.parse(quoted, (_, value) =>
      typeof value === 'string' && value.startsWith(mark) ? Number(value.slice(mark.length)) : value,
    );
    return withIds(value, quoted);
  }
}

/** The value parsed from the text; ids that a number does not hold keep their digits (idText). */
export function withIds(value: unknown, text: string): unknown {
  if (/\d{16}/.test(text)) noteNumbers(value, text);
  return value;
}

/** ast.literal_eval of lists, tuples, dicts, strings, numbers, True, False and None; undefined where it raises. */
export function pythonLiteral(text: string): unknown {
  const tokens = text.match(LITERAL_TOKEN);
  if (tokens === null || tokens.join('') !== text) return undefined;
  const kept = tokens.filter((token) => !/^\s+$/.test(token));
  let at = 0;

  function parseValue(): unknown {
    const token = kept[at++];
    if (token === undefined) throw new SyntaxError('unexpected end');
    if (token === '[' || token === '(') return parseSequence(token === '[' ? ']' : ')');
    if (token === '{') return parseDict();
    if (/^[rbu]*['"]/i.test(token)) return parseStrings(token);
    if (token === '-' || token === '+') return (token === '-' ? -1 : 1) * Number(parseValue());
    if (token in CONSTANTS) return CONSTANTS[token];
    // Python has no integers with leading zeros.
    if (/^\d/.test(token) && !/^0\d+$/.test(token)) return Number(token.replaceAll('_', ''));
    if (/^\.\d/.test(token)) return Number(token);
    throw new SyntaxError(token);
  }
  function parseStrings(first: string): string {
    let value = unquote(first);
    while (/^['"]/.test(kept[at] ?? '')) value += unquote(kept[at++]!);
    return value;
  }
  function parseSequence(close: string): unknown[] {
    const values: unknown[] = [];
    while (kept[at] !== close) {
      values.push(parseValue());
      if (kept[at] === ',') at += 1;
      else if (kept[at] !== close) throw new SyntaxError('expected ,');
    }
    at += 1;
    return values;
  }
  function parseDict(): Record<string, unknown> {
    const members: Record<string, unknown> = {};
    while (kept[at] !== '}') {
      const key = String(parseValue());
      if (kept[at++] !== ':') throw new SyntaxError('expected :');
      members[key] = parseValue();
      if (kept[at] === ',') at += 1;
      else if (kept[at] !== '}') throw new SyntaxError('expected ,');
    }
    at += 1;
    return members;
  }
  try {
    const value = parseValue();
    return at === kept.length ? value : undefined;
  } catch {
    return undefined;
  }
}

const CONSTANTS: Record<string, unknown> = { True: true, False: false, None: null };
const LITERAL_TOKEN =
  /\s+|[[\](){},:+-]|'(?:[^'\\\n]|\\[\s\S])*'|"(?:[^"\\\n]|\\[\s\S])*"|(?:\d[\d_]*\.?\d*|\.\d+)(?:[eE][+-]?\d+)?|True|False|None/g;
const ESCAPES: Record<string, string> = { n: '\n', t: '\t', r: '\r', b: '\b', f: '\f', v: '\v', a: '\x07', '0': '\0' };

function unquote(token: string): string {
  return token
    .slice(1, -1)
    .replace(/\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|([\s\S]))/g, (whole, hex, wide, single) => {
      if (hex ?? wide) return String.fromCodePoint(Number.parseInt(hex ?? wide, 16));
      if (single === '\n') return '';
      return ESCAPES[single] ?? (single === "'" || single === '"' || single === '\\' ? single : whole);
    });
}

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
      // CPython takes a pool for small populations and a set of indexes for large ones: other draws, other results.
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
