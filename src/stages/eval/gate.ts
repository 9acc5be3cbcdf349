// SPDX-License-Identifier: Apache-2.0
// `eval gate`: checks score rows against requirements, so make and shell scripts can stop if a model gets worse.
//   BENCHMARK[.SPLIT].FIELD OP NUMBER [from NAME]      pope.all.score >= 85      mmvet.score >= -0.5 from base
import { RunError, UsageError } from '../../records/error.ts';

/** A row as `eval` prints it. */
export interface GateInput {
  benchmark: string;
  split: string;
  model?: unknown;
  [figure: string]: unknown;
}

const COMPARE = {
  '>=': (a: number, b: number) => a >= b,
  '>': (a: number, b: number) => a > b,
  '<=': (a: number, b: number) => a <= b,
  '<': (a: number, b: number) => a < b,
};
type Operator = keyof typeof COMPARE;

export interface Requirement {
  text: string;
  benchmark: string;
  split: string;
  field: string;
  operator: Operator;
  bound: number;
  /** The value is the difference from this baseline. */
  from?: string;
}

/** One requirement and its result. */
export interface GateRow {
  require: string;
  pass: boolean;
  /** Null if there is no such row, or its field is not a number. */
  value: number | null;
  baseline?: number | null;
  difference?: number | null;
}

const FORM = 'BENCHMARK[.SPLIT].FIELD OP NUMBER [from NAME], OP one of >= > <= <';
const PATTERN = /^\s*(\S+?)\s*(>=|<=|>|<)\s*(-?(?:\d+\.?\d*|\.\d+)(?:e-?\d+)?)(?:\s+from\s+(\S+))?\s*$/i;

/** Throws UsageError for an invalid requirement. */
export function parseRequirement(text: string): Requirement {
  const [, path = '', operator, bound, from] = PATTERN.exec(text) ?? [];
  const names = path.split('.');
  if (operator === undefined || names.length < 2 || names.includes(''))
    throw new UsageError(`--require: expected ${FORM}, got ${JSON.stringify(text)}`);
  const [benchmark, ...rest] = names;
  const field = rest.pop()!;
  // A split's name may contain dots.
  const split = rest.length === 0 ? 'all' : rest.join('.');
  return {
    text: text.trim(),
    benchmark: benchmark!,
    split,
    field,
    operator: operator as Operator,
    bound: Number(bound),
    ...(from !== undefined && { from }),
  };
}

/** The result of each requirement. Throws UsageError for a missing baseline, RunError{"gate"} if two rows match one name. */
export function gate(
  rows: readonly GateInput[],
  requirements: readonly Requirement[],
  baselines: ReadonlyMap<string, readonly GateInput[]>,
): GateRow[] {
  return requirements.map((requirement) => {
    const { text, operator, bound, from } = requirement;
    const value = figureOf(rows, requirement);
    if (from === undefined) return { require: text, pass: holds(value, operator, bound), value };
    const known = baselines.get(from);
    if (known === undefined)
      throw new UsageError(`--require ${JSON.stringify(text)}: expected --baseline ${from}=ROWS, got none`);
    const baseline = figureOf(known, requirement);
    const difference = value === null || baseline === null ? null : value - baseline;
    return { require: text, pass: holds(difference, operator, bound), value, baseline, difference };
  });
}

/** "pope.all.score >= -0.5 from base: got -1.2 (85.1, base 86.3)". */
export function describeFailure({ require, value, baseline, difference }: GateRow): string {
  const shown = (figure: number | null | undefined) =>
    figure === null || figure === undefined ? 'no such figure' : String(Number(figure.toPrecision(6)));
  if (baseline === undefined) return `${require}: got ${shown(value)}`;
  const from = /\sfrom\s+(\S+)$/.exec(require)![1];
  return `${require}: got ${shown(difference)} (${shown(value)}; ${from} ${shown(baseline)})`;
}

// In floating point, 85.8 - 86.3 is not exactly -0.5, so figures are compared to nine digits.
function holds(value: number | null, operator: Operator, bound: number): boolean {
  if (value === null) return false;
  return COMPARE[operator](Number(value.toPrecision(9)), bound);
}

function figureOf(rows: readonly GateInput[], { benchmark, split, field, text }: Requirement): number | null {
  const found = rows.filter((row) => row.benchmark === benchmark && row.split === split);
  if (found.length > 1) {
    const models = found.map(({ model }) => JSON.stringify(model) ?? 'no model').join(', ');
    throw new RunError(
      'gate',
      `--require ${JSON.stringify(text)}: expected one row of ${benchmark} ${split}, got ${found.length} (${models})`,
    );
  }
  const value = found[0]?.[field];
  return typeof value === 'number' && Number.isFinite(value) ? value : null;
}
