// SPDX-License-Identifier: Apache-2.0
// Curves: the metric rows of train.
import type { Curves, JsonObject, RowSection } from './data.ts';

export class CurveSection implements RowSection<Curves[]> {
  readonly #rows = new Map<string, Map<number, JsonObject>>();

  take(run: string, row: JsonObject): boolean {
    if (typeof row.step !== 'number') return false;
    // What a run warns of, and how it ended, are no points.
    if (typeof row.warning === 'string' || typeof row.stop_reason === 'string') return true;
    if (typeof row.loss !== 'number' && typeof row['eval/loss'] !== 'number') return false;
    const rows = this.#rows.get(run) ?? new Map<number, JsonObject>();
    this.#rows.set(run, rows);
    // A step and the evaluation of its state are one point.
    rows.set(row.step, { ...rows.get(row.step), ...row });
    return true;
  }

  data(): Curves[] {
    return [...this.#rows].map(([name, rows]) => curvesOf(name, [...rows.values()].sort(byStep)));
  }
}

function byStep(a: JsonObject, b: JsonObject): number {
  return (a.step as number) - (b.step as number);
}

/** Columns of every numeric metric but step and epoch, in the order the run first wrote them. */
function curvesOf(name: string, rows: readonly JsonObject[]): Curves {
  const keys = new Set<string>();
  for (const row of rows)
    for (const [key, value] of Object.entries(row))
      if (typeof value === 'number' && key !== 'step' && key !== 'epoch') keys.add(key);
  const column = (key: string) => rows.map((row) => (typeof row[key] === 'number' ? (row[key] as number) : null));
  return { name, keys: [...keys], columns: [column('step'), ...[...keys].map(column)] };
}
