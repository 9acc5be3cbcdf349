// SPDX-License-Identifier: Apache-2.0
// Curves: the metric rows of train.
import type { Curves, JsonObject, RowSection } from './data.ts';

export class CurveSection implements RowSection<Curves[]> {
  readonly #rows = new Map<string, JsonObject[]>();

  take(run: string, row: JsonObject): boolean {
    if (typeof row.step !== 'number' || typeof row.loss !== 'number') return false;
    const rows = this.#rows.get(run);
    if (rows === undefined) this.#rows.set(run, [row]);
    else rows.push(row);
    return true;
  }

  data(): Curves[] {
    return [...this.#rows].map(([name, rows]) => curvesOf(name, rows));
  }
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
