// SPDX-License-Identifier: Apache-2.0
// What calls cost, what a run may cost, and when it must wait or stop.
import { readFileSync } from 'node:fs';
import type { Attempt, Usage } from '../../http/attempt.ts';
import { UsageError } from '../../records/error.ts';
import type { Outcome } from '../../records/record.ts';

/** US dollars for a million tokens. */
export interface Price {
  input: number;
  output: number;
}

/**
 * List prices by "provider:model", each for that name and its dated forms; looked up in providers' price lists at the end
 * of 2025. They change: --prices FILE overrides them.
 */
const LIST_PRICES: Record<string, Price> = {
  'gemini:gemini-3-pro-preview': { input: 2, output: 12 },
  'gemini:gemini-2.5-pro': { input: 1.25, output: 10 },
  'gemini:gemini-2.5-flash': { input: 0.3, output: 2.5 },
  'gemini:gemini-2.5-flash-lite': { input: 0.1, output: 0.4 },
  'gemini:gemini-2.0-flash': { input: 0.1, output: 0.4 },
  'gemini:gemini-2.0-flash-lite': { input: 0.075, output: 0.3 },
  'openai:gpt-5': { input: 1.25, output: 10 },
  'openai:gpt-5-mini': { input: 0.25, output: 2 },
  'openai:gpt-5-nano': { input: 0.05, output: 0.4 },
  'openai:gpt-5-chat': { input: 1.25, output: 10 },
  'openai:gpt-5-pro': { input: 15, output: 120 },
  'openai:gpt-4.1': { input: 2, output: 8 },
  'openai:gpt-4.1-mini': { input: 0.4, output: 1.6 },
  'openai:gpt-4.1-nano': { input: 0.1, output: 0.4 },
  'openai:gpt-4o': { input: 2.5, output: 10 },
  'openai:gpt-4o-2024-05-13': { input: 5, output: 15 },
  'openai:gpt-4o-mini': { input: 0.15, output: 0.6 },
  'openai:gpt-4-turbo': { input: 10, output: 30 },
  'openai:gpt-4-1106-preview': { input: 10, output: 30 },
  'openai:gpt-4-0125-preview': { input: 10, output: 30 },
  'openai:gpt-4': { input: 30, output: 60 },
  'openai:gpt-3.5-turbo': { input: 0.5, output: 1.5 },
  'openai:gpt-3.5-turbo-1106': { input: 1, output: 2 },
  'openai:gpt-3.5-turbo-0613': { input: 1.5, output: 2 },
  'openai:gpt-3.5-turbo-0301': { input: 1.5, output: 2 },
  'openai:o1': { input: 15, output: 60 },
  'openai:o1-pro': { input: 150, output: 600 },
  'openai:o3': { input: 2, output: 8 },
  'openai:o3-mini': { input: 1.1, output: 4.4 },
  'openai:o3-pro': { input: 20, output: 80 },
  'openai:o4-mini': { input: 1.1, output: 4.4 },
  'anthropic:claude-opus-4-5': { input: 5, output: 25 },
  'anthropic:claude-opus-4-1': { input: 15, output: 75 },
  'anthropic:claude-opus-4-0': { input: 15, output: 75 },
  'anthropic:claude-opus-4': { input: 15, output: 75 },
  'anthropic:claude-sonnet-4-5': { input: 3, output: 15 },
  'anthropic:claude-sonnet-4-0': { input: 3, output: 15 },
  'anthropic:claude-sonnet-4': { input: 3, output: 15 },
  'anthropic:claude-3-7-sonnet': { input: 3, output: 15 },
  'anthropic:claude-3-5-sonnet': { input: 3, output: 15 },
  'anthropic:claude-haiku-4-5': { input: 1, output: 5 },
  'anthropic:claude-3-5-haiku': { input: 0.8, output: 4 },
  'anthropic:claude-3-haiku': { input: 0.25, output: 1.25 },
};

/** What vendors put behind a name for one day's version of it: -2024-08-06, -20241022, -0613, -001, @20250514, -latest. */
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

/** The judge's price by its name, or by its name without a date; the user's table first. Undefined when nobody knows. */
export function judgePrice(judge: string, own: Record<string, Price> = {}): Price | undefined {
  for (const table of [own, LIST_PRICES]) {
    if (Object.hasOwn(table, judge)) return table[judge];
    const name = Object.keys(table).find((known) => judge.startsWith(known) && DATED.test(judge.slice(known.length)));
    if (name !== undefined) return table[name];
  }
  return /^(local|exec):/.test(judge) ? FREE : undefined;
}

/** US dollars of these tokens. */
export function costOf(price: Price, usage: Pick<Usage, 'input_tokens' | 'output_tokens'>): number {
  return (usage.input_tokens * price.input + usage.output_tokens * price.output) / 1e6;
}

/** Outcomes of calls that a model has worked on. */
const ANSWERED: ReadonlySet<Outcome> = new Set(['ok', 'truncated', 'empty', 'refused', 'unparsable']);

/** What one call has cost; `most` where it was worked on and nobody says for how many tokens. */
export function attemptCost(price: Price, attempt: Attempt, most: number): number {
  if (attempt.usage) return costOf(price, attempt.usage);
  return attempt.brokeOff || ANSWERED.has(attempt.outcome) ? most : 0;
}

/** Thrown when the next call could cost more than is left. */
export class BudgetSpent extends Error {
  override name = 'BudgetSpent';
}

/**
 * Keeps a run under its maximum: a call starts only when what is spent, plus the most that the running calls may cost,
 * plus its own most, stays within it. A call that does not fit waits for running ones to come in cheaper than feared.
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

  /** Waits until the call fits. Throws BudgetSpent when it cannot. */
  async reserve(most: number): Promise<void> {
    while (this.#spent + this.#reserved + most > this.#max) {
      if (this.#running === 0) {
        throw new BudgetSpent(
          `--max-cost ${this.#max}: ${this.#spent.toFixed(4)} USD are spent and the next call may cost ${most.toFixed(4)}`,
        );
      }
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
    this.#reserved += most;
    this.#running += 1;
  }

  /** The call is over and has cost this much. */
  settle(most: number, actual: number): void {
    this.#reserved -= most;
    this.#running -= 1;
    this.#spent += actual;
    for (const wake of this.#waiting.splice(0)) wake();
  }
}
