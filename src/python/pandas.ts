// SPDX-License-Identifier: Apache-2.0
// Cells that pandas reads as missing: the official tables are read with it, so an option "None" is no option there.

const MISSING = new Set([
  '',
  '#N/A',
  '#N/A N/A',
  '#NA',
  '-1.#IND',
  '-1.#QNAN',
  '-NaN',
  '-nan',
  '1.#IND',
  '1.#QNAN',
  '<NA>',
  'N/A',
  'NA',
  'NULL',
  'NaN',
  'None',
  'n/a',
  'nan',
  'null',
]);

/** Whether pandas.read_csv gives NaN for the cell (pandas 2; 1.x kept "None"). */
export function isPandasMissing(cell: unknown): boolean {
  return typeof cell !== 'string' || MISSING.has(cell);
}
