// SPDX-License-Identifier: Apache-2.0
// Finds the cause of differences in log-probabilities. `score --drift` gives ours under several readings of the prompt and in two dtypes. The server's
// values are compared with each; the distance between our two dtypes measures the effect of rounding.
import { meanOf } from '../scoring/statistics.ts';
import { AS_IS, type Compared } from './columns.ts';

export interface Verdict {
  /** agrees, dtype:NAME, a reading's name, tokenisation, mixed, other-model; without readings: agrees, precision, differs. */
  verdict: string;
  /** RMS distance of the server's values from those of the found reading, nats per token. */
  rms: number | null;
  /** Responses by best reading; only for verdict mixed. */
  shown?: Map<string, number>;
}

/** Maximum rounding of a server in our dtype, as a share of bf16's: f32 has 16 more bits, f16 and tf32 three. */
const SAME_DTYPE = 1 / 25;
const HALF_DTYPE = 1 / 2.5;
/** Factor within which another bf16 computation is as far from f32 as ours. */
const ROUNDING = 2;
/** Factor for single responses: they have few tokens, and unlikely tokens have the largest errors. */
const ONE_ANSWER = 6;
/** A reading is named only if it leaves less than this share of the difference. */
const CLEARER = 1 / 2;
/** The same share, for a difference that rounding may cause. */
const MUCH_CLEARER = 1 / 5;
/** Effect of another order of summation and of six-digit output, nats. */
const NOTHING = 2e-5;

/** Without readings: limits for f32 against f32, and for any rounding. */
const AGREES_ALONE = 1e-3;
const PRECISION_ALONE = 0.1;

const DTYPE = 'dtype:';

/** Verdict over responses with at least one token to compare. */
export function verdictOf(answers: readonly Compared[]): Verdict {
  const sameTokens = answers.filter(({ hasOtherTokens }) => !hasOtherTokens);
  // Sampled text sometimes has non-canonical tokens; with another tokenizer all responses differ.
  if (sameTokens.length < 0.8 * answers.length) return { verdict: 'tokenisation', rms: null };
  const comparable = sameTokens.filter(({ differences }) => differences.get(AS_IS)!.length > 0);
  if (comparable.length === 0) return { verdict: 'other-model', rms: null };
  const names = commonReadings(comparable);
  const own = rmsOf(comparable, AS_IS);
  const other = names.find((name) => name.startsWith(DTYPE));
  if (other === undefined) return withoutReadings(comparable, own);
  const rounding = Math.max(distance(comparable, AS_IS, other), NOTHING / SAME_DTYPE);
  const precision = dtypeOf(comparable, other, rounding);
  const readings = names.filter((name) => name !== AS_IS && name !== other);
  const best = least(readings, (name) => rmsOf(comparable, name));
  const isClear = best !== undefined && best.rms <= own * (precision === undefined ? CLEARER : MUCH_CLEARER);
  if (isClear && best.rms <= ROUNDING * rounding && own > SAME_DTYPE * rounding)
    return { verdict: best.name, rms: best.rms };
  const strange = comparable.filter((answer) => rmsOf([answer], AS_IS) > ONE_ANSWER * rounding);
  if (precision !== undefined && strange.length < 0.05 * comparable.length) return { verdict: precision, rms: own };
  return mixed(comparable, readings, rounding) ?? { verdict: 'other-model', rms: own };
}

/** Readings of all responses. If a reading does not change a prompt, ours is used for it. */
function commonReadings(answers: readonly Compared[]): string[] {
  return [...new Set(answers.flatMap(({ differences }) => [...differences.keys()]))];
}

function withoutReadings(answers: readonly Compared[], own: number): Verdict {
  if (own <= AGREES_ALONE) return { verdict: 'agrees', rms: own };
  const isRounding = own <= PRECISION_ALONE && isUnbiased(pooled(answers, AS_IS), 0);
  return { verdict: isRounding ? 'precision' : 'differs', rms: own };
}

/** The server's dtype, `agrees` if it is ours; undefined if the difference exceeds rounding. */
function dtypeOf(answers: readonly Compared[], other: string, rounding: number): string | undefined {
  const otherDtype = other.slice(DTYPE.length);
  const exact = otherDtype === 'f32' ? other : AS_IS;
  const rough = otherDtype === 'f32' ? AS_IS : other;
  const named = (dtype: string) => (dtype === otherDtype || dtype === 'f16' ? `${DTYPE}${dtype}` : 'agrees');
  const fromExact = rmsOf(answers, exact);
  if (fromExact <= SAME_DTYPE * rounding) return named('f32');
  if (rmsOf(answers, rough) <= SAME_DTYPE * rounding) return named('bf16');
  if (fromExact > ROUNDING * rounding) return undefined;
  const bias = Math.abs(meanOf(pooled(answers, exact)) - meanOf(pooled(answers, rough)));
  if (!isUnbiased(pooled(answers, exact), bias)) return undefined;
  return named(fromExact <= HALF_DTYPE * rounding ? 'f16' : 'bf16');
}

// Rounding errors have both signs; another model gives the server's responses lower log-probabilities.
function isUnbiased(differences: readonly number[], allowed: number): boolean {
  const mean = meanOf(differences);
  const variance = meanOf(differences.map((one) => (one - mean) ** 2));
  return Math.abs(mean) <= 4 * Math.sqrt(variance / differences.length) + 2 * allowed;
}

/** Responses with different readings: a server that drops large images, or one of several servers that differs. */
function mixed(answers: readonly Compared[], names: readonly string[], rounding: number): Verdict | undefined {
  const shown = new Map<string, number>();
  const explained: Compared[] = [];
  for (const answer of answers) {
    const own = rmsOf([answer], AS_IS);
    const best = own <= ROUNDING * rounding ? undefined : least(names, (name) => rmsOf([answer], name));
    if (best !== undefined && best.rms > Math.min(ONE_ANSWER * rounding, CLEARER * own)) continue;
    const name = best?.name ?? AS_IS;
    shown.set(name, (shown.get(name) ?? 0) + 1);
    explained.push(answer);
  }
  if (explained.length < 0.8 * answers.length || shown.size < 2) return undefined;
  return { verdict: 'mixed', rms: null, shown };
}

function least(names: readonly string[], figure: (name: string) => number): { name: string; rms: number } | undefined {
  const all = names.map((name) => ({ name, rms: figure(name) }));
  return all.sort((a, b) => a.rms - b.rms)[0];
}

/** Differences of all tokens under one reading. */
export function pooled(answers: readonly Compared[], name: string): number[] {
  return answers.flatMap(({ differences }) => differences.get(name) ?? differences.get(AS_IS)!);
}

export function rmsOf(answers: readonly Compared[], name: string): number {
  return Math.sqrt(meanOf(pooled(answers, name).map((one) => one * one)));
}

/** RMS distance between two of our readings. */
function distance(answers: readonly Compared[], a: string, b: string): number {
  const other = pooled(answers, b);
  return Math.sqrt(meanOf(pooled(answers, a).map((one, k) => (one - other[k]!) ** 2)));
}
