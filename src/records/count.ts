// SPDX-License-Identifier: Apache-2.0

/** A number with its noun: "1 record", "2 records". `many`: an irregular plural, or a noun with its verb ("records have"). */
export function count(number: number, one: string, many = `${one}s`): string {
  return `${number} ${number === 1 ? one : many}`;
}
