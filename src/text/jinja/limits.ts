// SPDX-License-Identifier: Apache-2.0
// Limits of one rendering: a downloaded template must not hang the process or exhaust its memory.
import { TemplateError } from './values.ts';

/** Maximum steps of a rendering, a few seconds; a dialogue of a thousand turns takes less than a tenth. */
const MAX_STEPS = 5_000_000;
/** Time limit, for steps that take long. */
const MAX_MS = 10_000;
/** Characters or list items per step. */
const ITEMS_A_STEP = 32;
/** Maximum length of a text or list. */
const MAX_ITEMS = 16 * 2 ** 20;
/** Jinja's sandbox has the same limit. */
export const MAX_RANGE = 100_000;
/** Maximum length of a template, and of a run of white space; published ones are below 100 KB. */
export const MAX_SOURCE = 512 * 1024;
export const MAX_BLANKS = 4096;

/** Counts steps and refuses too large values. */
export class Budget {
  #left = MAX_STEPS;
  readonly #deadline = performance.now() + MAX_MS;

  step(): void {
    if (this.#left % 16 === 0 && performance.now() > this.#deadline)
      throw new TemplateError(`takes more than ${MAX_MS / 1000} s`);
    if (--this.#left < 0) throw new TemplateError(`takes more than ${MAX_STEPS} steps`);
  }

  /** Call before `items` characters or list items are created. */
  take(items: number): void {
    if (items > MAX_ITEMS) throw new TemplateError(`makes a text or list of more than ${MAX_ITEMS} items`);
    this.#left -= Math.floor(items / ITEMS_A_STEP);
    this.step();
  }
}
