// SPDX-License-Identifier: Apache-2.0
// Rows that papers print. Units as `score`: percent, MT-Bench and MMHal-Bench as they are.

export interface PublishedRow {
  method: string;
  /** Paper and table: "SeVa table 2". */
  source: string;
  /** Score by split. */
  scores: Readonly<Record<string, number>>;
}

/** A table's rows: for each method a score a split, null where the paper has none. */
export function publishedRows(
  source: string,
  splits: readonly string[],
  methods: Readonly<Record<string, readonly (number | null)[]>>,
): PublishedRow[] {
  return Object.entries(methods).map(([method, values]) => {
    const known = splits.flatMap((split, column) => {
      const score = values[column] ?? null;
      return score === null ? [] : [[split, score] as const];
    });
    return { method, source, scores: Object.fromEntries(known) };
  });
}
