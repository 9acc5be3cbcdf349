// SPDX-License-Identifier: Apache-2.0
// Curves: the metric rows of train, with its warnings and its end.
import { count } from '../../records/count.ts';
import type { Curves, JsonObject, Mark, RowSection } from './data.ts';

/** Maximum points of all runs, points per run (more than a chart's pixels), and runs with curves. */
const MAX_POINTS = 20_000;
const MAX_POINTS_OF_RUN = 2000;
const MAX_RUNS = 40;

/** The rows of one run of train. */
export interface Training {
  name: string;
  /** Rows by step. A step and its evaluation are merged. */
  rows: JsonObject[];
  marks: Mark[];
  end?: JsonObject;
}

interface Gathered {
  rows: Map<number, JsonObject>;
  marks: Mark[];
  end?: JsonObject;
  /** Steps that occur twice with different losses, which a resumed run never has. */
  numConflicts: number;
}

export class CurveSection implements RowSection<Curves[]> {
  readonly #runs = new Map<string, Gathered>();

  take(run: string, row: JsonObject): boolean {
    const { step, warning, message, stop_reason: reason } = row;
    if (typeof step !== 'number') return false;
    if (typeof warning === 'string') {
      const { marks } = this.#of(run);
      // A resumed run repeats the warnings after its checkpoint.
      if (!marks.some((mark) => mark.step === step && mark.name === warning))
        marks.push({ step, name: warning, message: typeof message === 'string' ? message : '' });
      return true;
    }
    if (typeof reason === 'string') {
      this.#of(run).end = row;
      return true;
    }
    const metric = ['loss', 'eval/loss'].find((name) => typeof row[name] === 'number');
    if (metric === undefined) return false;
    const gathered = this.#of(run);
    const before = gathered.rows.get(step);
    if (typeof before?.[metric] === 'number' && before[metric] !== row[metric]) gathered.numConflicts += 1;
    gathered.rows.set(step, { ...before, ...row });
    return true;
  }

  /** Every run with all its rows, for the table of runs. */
  trainings(): Training[] {
    return [...this.#runs].map(([name, { rows, marks, end }]) => ({
      name,
      rows: [...rows.values()].sort(byStep),
      marks: [...marks].sort((a, b) => a.step - b.step),
      ...(end && { end }),
    }));
  }

  notes(): string[] {
    const mixed = [...this.#runs].filter(([, { numConflicts }]) => numConflicts > 0);
    return mixed.map(
      ([name, { numConflicts }]) =>
        `${name}: ${count(numConflicts, 'step appears', 'steps appear')} twice with different losses (two runs in one file?): the later rows are shown`,
    );
  }

  data(): Curves[] {
    const trainings = this.trainings().filter(({ rows }) => rows.length > 0);
    const maxPoints = Math.min(MAX_POINTS_OF_RUN, Math.floor(MAX_POINTS / Math.min(trainings.length, MAX_RUNS)));
    return trainings.slice(0, MAX_RUNS).map((training) => curvesOf(training, maxPoints));
  }

  get numLeftOut(): number {
    return Math.max(0, this.trainings().filter(({ rows }) => rows.length > 0).length - MAX_RUNS);
  }

  #of(run: string): Gathered {
    const known = this.#runs.get(run) ?? { rows: new Map(), marks: [], numConflicts: 0 };
    this.#runs.set(run, known);
    return known;
  }
}

function byStep(a: JsonObject, b: JsonObject): number {
  return (a.step as number) - (b.step as number);
}

// Figures of the run, not of a step: shown in the table of runs.
const NOT_CURVES = new Set(['step', 'epoch', 'eval/best_step', 'eval/seconds']);

/** Columns of every numeric metric, in order of first appearance. */
function curvesOf({ name, rows: all, marks, end }: Training, maxPoints: number): Curves {
  const rows = thinned(all, maxPoints);
  const keys = new Set<string>();
  for (const row of rows)
    for (const [key, value] of Object.entries(row))
      if (typeof value === 'number' && !NOT_CURVES.has(key)) keys.add(key);
  const column = (key: string) => rows.map((row) => (typeof row[key] === 'number' ? (row[key] as number) : null));
  const { best_step: step, best_metric: key } = end ?? {};
  return {
    name,
    keys: [...keys],
    columns: [column('step'), ...[...keys].map(column)],
    numSteps: all.length,
    ...(marks.length > 0 && { marks }),
    ...(typeof step === 'number' && typeof key === 'string' && { best: { step, key } }),
  };
}

/** At most `max` rows, plus those with an evaluation. Keeps the rows with the lowest and the highest loss of each range, so no spike is lost. */
function thinned(rows: readonly JsonObject[], max: number): readonly JsonObject[] {
  if (rows.length <= max) return rows;
  const length = Math.ceil((2 * rows.length) / max);
  const kept = new Set<JsonObject>([rows[0]!, rows.at(-1)!]);
  for (const row of evenly(
    rows.filter((row) => typeof row['eval/loss'] === 'number'),
    max,
  ))
    kept.add(row);
  for (let from = 0; from < rows.length; from += length) {
    const stretch = rows.slice(from, from + length).filter((row) => typeof row.loss === 'number');
    const loss = (row: JsonObject) => row.loss as number;
    for (const isLess of [(a: number, b: number) => a < b, (a: number, b: number) => a > b])
      if (stretch.length > 0) kept.add(stretch.reduce((best, row) => (isLess(loss(row), loss(best)) ? row : best)));
  }
  return rows.filter((row) => kept.has(row));
}

function evenly<T>(values: readonly T[], max: number): readonly T[] {
  const every = Math.ceil(values.length / max);
  return every <= 1 ? values : values.filter((_, index) => index % every === 0);
}
