// SPDX-License-Identifier: Apache-2.0
// The cost of calls, the maximum cost of a run, and when it must wait or stop.
import { readFileSync } from 'node:fs';
import type { Attempt, Usage } from '../../http/attempt.ts';
import { UsageError } from '../../records/error.ts';
import type { Outcome } from '../../records/record.ts';
import { parseJudge } from './providers/index.ts';

/** US dollars per million tokens. */
export interface Price {
  input: number;
  output: number;
}

/** Suffixes by which vendors name a dated version: -2024-08-06, -20241022, -0613, -001, @20250514, -latest. */
const DATED = /^(?:[-@](?:\d{4}-\d{2}-\d{2}|\d{8}|\d{4}|\d{3})|-latest)$/;

const FREE: Price = { input: 0, output: 0 };

/** A table of prices from a file: {"provider:model": {"input": USD per million tokens, "output": ...}}. */
export function loadPrices(file: string): Record<string, Price> {
  let table: unknown;
  try {
    table = JSON.parse(readFileSync(file, 'utf8'));
  } catch (cause) {
    throw new UsageError(`--prices: ${file}: ${(cause as Error).message}`);
  }
  if (typeof table !== 'object' || table === null || Array.isArray(table)) {
    throw new UsageError(`--prices: ${file}: expected {"provider:model": {"input": n, "output": n}}`);
  }
  for (const [name, price] of Object.entries(table)) {
    const { input, output } = (price ?? {}) as Partial<Price>;
    if (!isPrice(input) || !isPrice(output)) {
      throw new UsageError(
        `--prices: ${file}: ${name}: expected {"input": n, "output": n}, got ${JSON.stringify(price)}`,
      );
    }
  }
  return table as Record<string, Price>;
}

function isPrice(value: unknown): value is number {
  return typeof value === 'number' && Number.isFinite(value) && value >= 0;
}

/** The judge's price by its name, or by its name without a date; the user's table first. Undefined if unknown. */
export function judgePrice(judge: string, own: Record<string, Price> = {}): Price | undefined {
  const { provider, operand } = parseJudge(judge);
  return priceOf(judge, own) ?? ('prices' in provider ? priceOf(operand, provider.prices) : FREE);
}

function priceOf(name: string, table: Readonly<Record<string, Price>>): Price | undefined {
  if (Object.hasOwn(table, name)) return table[name];
  const dated = Object.keys(table).find((known) => name.startsWith(known) && DATED.test(name.slice(known.length)));
  return dated === undefined ? undefined : table[dated];
}

/** The price of these tokens in US dollars. */
export function costOf(price: Price, usage: Pick<Usage, 'input_tokens' | 'output_tokens'>): number {
  return (usage.input_tokens * price.input + usage.output_tokens * price.output) / 1e6;
}

/** Outcomes of calls that the model processed. */
const PROCESSED: ReadonlySet<Outcome> = new Set(['ok', 'truncated', 'empty', 'refused', 'unparsable']);

/** The cost of one call; `most` if the call was processed and its token counts are unknown. */
export function attemptCost(price: Price, attempt: Attempt, most: number): number {
  if (attempt.usage) return costOf(price, attempt.usage);
  return attempt.brokeOff || PROCESSED.has(attempt.outcome) ? most : 0;
}

/** Thrown when the next call could cost more than is left. */
export class BudgetSpent extends Error {
  override name = 'BudgetSpent';
}

/**
 * Keeps a run under its maximum. A call starts only if the money spent, plus the maximum cost of the running calls,
 * plus its own maximum cost, stays within the limit. Otherwise it waits, because running calls may cost less than their maximum.
 */
export class Budget {
  readonly #max: number;
  readonly #waiting: (() => void)[] = [];
  #spent = 0;
  #reserved = 0;
  #running = 0;

  constructor(max: number) {
    this.#max = max;
  }

  get spent(): number {
    return this.#spent;
  }

  /** Waits until the call fits. Throws BudgetSpent if it never can. */
  async reserve(most: number): Promise<void> {
    while (this.#spent + this.#reserved + most > this.#max) {
      if (this.#running === 0) {
        throw new BudgetSpent(
          `--max-cost ${this.#max}: ${this.#spent.toFixed(4)} USD spent, and the next request may cost ${most.toFixed(4)}`,
        );
      }
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
    this.#reserved += most;
    this.#running += 1;
  }

  /** Records the cost of a finished call. */
  settle(most: number, actual: number): void {
    this.#reserved -= most;
    this.#running -= 1;
    this.#spent += actual;
    for (const wake of this.#waiting.splice(0)) wake();
  }
}
