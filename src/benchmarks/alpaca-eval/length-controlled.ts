// SPDX-License-Identifier: Apache-2.0
// AlpacaEval's length-controlled win rate: a logistic model of the preference in the length difference (saturated), the
// instruction's difficulty and the model, evaluated at equal lengths. Source: alpaca_eval
// metrics/glm_winrate.py (length_controlled_v1); Dubois et al. 2024 (2404.04475).

import { RecordError } from '../../records/error.ts';
import { describeValue } from '../../records/field.ts';
import type { EvalFile } from '../scoring/file.ts';
import { meanOf } from '../scoring/statistics.ts';

/** One judged instruction. */
export interface LengthRow {
  /** In [0, 1]; undefined: not judged. */
  preference: number | undefined;
  /** Index in the evaluation set. */
  index: number;
  /** Length of the baseline's answer minus the model's, code points. */
  lengthDifference: number;
}

/** The side table: two models that gamed length, on every instruction, and the instructions' difficulties. */
export interface Gamed {
  rows: FitRow[];
  difficulty: Map<number, number>;
}

/** A row of the fit: target in [0, 1], weight, and the three columns of the design. */
interface FitRow {
  target: number;
  weight: number;
  columns: [length: number, difficulty: number, isModel: number];
}

// The two gamed models together have a fifth of the judged model's weight.
const GAMED_WEIGHT = 0.2 / 2;

/** df_gamed.csv: index, preference, std_delta_len, instruction_difficulty, not_gamed_baseline. */
export function readGamed(files: readonly EvalFile[]): Gamed {
  const difficulty = new Map<number, number>();
  const rows: FitRow[] = [];
  for (const { value, at } of files.flatMap((file) => file.rows)) {
    const read = (name: string) => {
      const number = typeof value[name] === 'string' && value[name] !== '' ? Number(value[name]) : Number.NaN;
      if (Number.isNaN(number)) throw new RecordError(at, name, 'a number', describeValue(value[name]));
      return number;
    };
    if (value.std_delta_len === undefined)
      throw new RecordError(
        at,
        'std_delta_len',
        "a column of AlpacaEval's df_gamed.csv",
        `columns ${Object.keys(value).join(', ')}`,
      );
    const index = read('index');
    if (!difficulty.has(index)) difficulty.set(index, read('instruction_difficulty'));
    if (value.preference === '') continue;
    const isModel = /^true$/i.test(String(value.not_gamed_baseline));
    rows.push({
      target: read('preference'),
      weight: isModel ? 1 : GAMED_WEIGHT,
      columns: [Math.tanh(read('std_delta_len')), read('instruction_difficulty'), +isModel],
    });
  }
  return { rows, difficulty };
}

/** The win rate in percent; null without a judged row. */
export function lengthControlledWinRate(rows: readonly LengthRow[], gamed: Gamed): number | null {
  const spread = sampleDeviation(rows.map((row) => row.lengthDifference));
  const difficultyOf = ({ index }: LengthRow) => {
    const difficulty = gamed.difficulty.get(index);
    if (difficulty !== undefined) return difficulty;
    throw new RecordError({ source: 'df_gamed.csv', line: 1 }, 'index', `a difficulty of instruction ${index}`, 'none');
  };
  const judged = rows.flatMap((row): FitRow[] =>
    row.preference === undefined
      ? []
      : [
          {
            target: row.preference,
            weight: 1,
            columns: [Math.tanh(row.lengthDifference / spread), difficultyOf(row), 1],
          },
        ],
  );
  if (judged.length < 2 || !(spread > 0)) return null;
  const all = [...gamed.rows, ...judged];
  const weights = fitL1(all, bestStrength(all));
  return 100 * meanOf(rows.map((row) => logistic(weights[1]! * difficultyOf(row) + weights[2]!)));
}

const NUM_FOLDS = 5;
// sklearn's LogisticRegressionCV(Cs=10).
const STRENGTHS = Array.from({ length: 10 }, (_, k) => 10 ** (-4 + (8 * k) / 9));

/** The inverse regularisation with the smallest cross-validated log loss; the smallest of equals. */
function bestStrength(rows: readonly FitRow[]): number {
  const losses = STRENGTHS.map(() => 0);
  for (let fold = 0; fold < NUM_FOLDS; fold++) {
    const isHeldOut = (index: number) => (rows.length - 1 - index) % NUM_FOLDS === fold;
    const train = rows.filter((_, index) => !isHeldOut(index));
    const held = rows.filter((_, index) => isHeldOut(index));
    let start = [0, 0, 0];
    for (const [k, strength] of STRENGTHS.entries()) {
      start = fitL1(train, strength, start);
      losses[k] = losses[k]! + logLoss(held, start) / held.length;
    }
  }
  return STRENGTHS[losses.indexOf(Math.min(...losses))]!;
}

/**
 * The weights that minimise |w|_1 + strength x weighted log loss, no intercept: coordinate descent with a Newton step
 * on each coordinate and a line search, to the minimum (the official solver stops at a tolerance of 1e-4).
 */
export function fitL1(rows: readonly FitRow[], strength: number, start: readonly number[] = [0, 0, 0]): number[] {
  const weights = [...start];
  const margins = rows.map((row) => dot(row.columns, weights));
  for (let sweep = 0; sweep < 500; sweep++) {
    let largest = 0;
    for (let k = 0; k < weights.length; k++) {
      const step = newtonStep(rows, margins, weights[k]!, k, strength);
      if (step === 0) continue;
      weights[k] = weights[k]! + step;
      for (let i = 0; i < rows.length; i++) margins[i] = margins[i]! + step * rows[i]!.columns[k]!;
      largest = Math.max(largest, Math.abs(step));
    }
    if (largest < 1e-9) break;
  }
  return weights;
}

function newtonStep(
  rows: readonly FitRow[],
  margins: readonly number[],
  weight: number,
  k: number,
  strength: number,
): number {
  let slope = 0;
  let curvature = 1e-12;
  for (let i = 0; i < rows.length; i++) {
    const { target, weight: share, columns } = rows[i]!;
    const p = logistic(margins[i]!);
    slope += strength * share * (p - target) * columns[k]!;
    curvature += strength * share * p * (1 - p) * columns[k]! ** 2;
  }
  const wanted = softThreshold(weight - slope / curvature, 1 / curvature) - weight;
  const penalised = (step: number) => {
    let loss = Math.abs(weight + step);
    for (let i = 0; i < rows.length; i++)
      loss += strength * pointLoss(rows[i]!, margins[i]! + step * rows[i]!.columns[k]!);
    return loss;
  };
  if (Math.abs(wanted) < 1e-7) return wanted;
  const before = penalised(0);
  for (let step = wanted, halvings = 0; halvings < 40; step /= 2, halvings++) if (penalised(step) < before) return step;
  return 0;
}

function softThreshold(value: number, threshold: number): number {
  return Math.sign(value) * Math.max(0, Math.abs(value) - threshold);
}

function logLoss(rows: readonly FitRow[], weights: readonly number[]): number {
  return rows.reduce((sum, row) => sum + pointLoss(row, dot(row.columns, weights)), 0);
}

function pointLoss({ target, weight }: FitRow, margin: number): number {
  return weight * (target * softplus(-margin) + (1 - target) * softplus(margin));
}

function softplus(x: number): number {
  return x > 0 ? x + Math.log1p(Math.exp(-x)) : Math.log1p(Math.exp(x));
}

function logistic(x: number): number {
  return 1 / (1 + Math.exp(-x));
}

function dot(a: readonly number[], b: readonly number[]): number {
  let sum = 0;
  for (let k = 0; k < a.length; k++) sum += a[k]! * b[k]!;
  return sum;
}

function sampleDeviation(values: readonly number[]): number {
  const mean = meanOf(values);
  return Math.sqrt(values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (values.length - 1));
}
