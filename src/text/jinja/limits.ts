// SPDX-License-Identifier: Apache-2.0
// What one rendering may take: a template comes from the net and must not hang or exhaust the process.
import { TemplateError } from './values.ts';

/** Steps of one rendering; a dialogue of a thousand turns takes less than a tenth. A few seconds. */
const MAX_STEPS = 5_000_000;
/** For what a step does not weigh right. */
const MAX_MS = 10_000;
/** Characters or list items whose making counts as a step. */
const ITEMS_A_STEP = 32;
/** Longest text or list. */
const MAX_ITEMS = 16 * 2 ** 20;
/** Jinja's sandbox has the same. */
export const MAX_RANGE = 100_000;
/** Longest template, and longest run of white space in it; published ones stay below 100 KB. */
export const MAX_SOURCE = 512 * 1024;
export const MAX_BLANKS = 4096;

/** Counts steps and refuses what is too large. */
export class Budget {
  #left = MAX_STEPS;
  readonly #deadline = performance.now() + MAX_MS;

  step(): void {
    if (this.#left % 16 === 0 && performance.now() > this.#deadline)
      throw new TemplateError(`takes more than ${MAX_MS / 1000} s`);
    if (--this.#left < 0) throw new TemplateError(`takes more than ${MAX_STEPS} steps`);
  }

  /** Before `items` characters or list items are made. */
  take(items: number): void {
    if (items > MAX_ITEMS) throw new TemplateError(`makes a text or list of more than ${MAX_ITEMS} items`);
    this.#left -= Math.floor(items / ITEMS_A_STEP);
    this.step();
  }
}
