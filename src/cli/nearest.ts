// SPDX-License-Identifier: Apache-2.0
// What a mistyped name most likely means.

/** The name with the fewest letters wrong, missing, too many or swapped: at most two, and fewer than half of them. */
export function nearestName(typed: string, names: Iterable<string>): string | undefined {
  const near = [...names]
    .map((name) => ({ name, distance: editDistance(typed, name) }))
    .filter(({ distance }) => distance <= 2 && distance < typed.length / 2);
  return near.sort((a, b) => a.distance - b.distance)[0]?.name;
}

/** Damerau and Levenshtein's distance, where no letter is moved twice (optimal string alignment). */
function editDistance(a: string, b: string): number {
  const rows = [Array.from({ length: b.length + 1 }, (_, j) => j)];
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const isSame = a[i - 1] === b[j - 1];
      const isSwapped = i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1];
      const options = [rows[i - 1]![j]! + 1, row[j - 1]! + 1, rows[i - 1]![j - 1]! + (isSame ? 0 : 1)];
      if (isSwapped) options.push(rows[i - 2]![j - 2]! + 1);
      row.push(Math.min(...options));
    }
    rows.push(row);
  }
  return rows[a.length]![b.length]!;
}
