// SPDX-License-Identifier: Apache-2.0
// Cells that pandas reads as missing: official scorers read tables with it, so an option "None" is absent.

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
