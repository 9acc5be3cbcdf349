// SPDX-License-Identifier: Apache-2.0
// Builds the questions of a run without asking them, for --dry-run and batch files.

import type { Row } from '../../flow/stage.ts';
import { placed, RecordError, RunError } from '../../records/error.ts';
import type { ReplyCache } from './cache.ts';
import { costOf, type Price } from './cost.ts';
import type { Judge } from './judge.ts';
import { planRun } from './plan.ts';
import { askQuestion, type Question, type QuestionOverrides, type ReadyGuide } from './question.ts';

/** The inputs of questions. */
export interface QuestionSource {
  ready: ReadyGuide;
  judge: Judge;
  cache: ReplyCache;
  runs: number;
  seed: number;
  shuffle: boolean;
  overrides: QuestionOverrides;
  /** Called for rows without a valid question. */
  onBadRow(message: string): void;
}

/** Every question of every row; `isNew` is false if the cache or an earlier question has the reply. */
export async function* eachQuestion(
  rows: AsyncIterable<Row>,
  source: QuestionSource,
): AsyncGenerator<{ row: Row; question: Question; isNew: boolean }> {
  const seen = new Set<string>();
  for await (const row of rows) {
    let questions: Question[];
    try {
      questions = await rowQuestions(row, source);
    } catch (cause) {
      reportBadRow(row, cause, source);
      continue;
    }
    for (const question of questions) {
      const { key } = question.request;
      const isKnown = seen.has(key) || (await source.cache.get(key)) !== undefined;
      seen.add(key);
      yield { row, question, isNew: !isKnown };
    }
  }
}

/** Reports an error of the row itself; rethrows any other. */
export function reportBadRow(row: Row, cause: unknown, { onBadRow }: Pick<QuestionSource, 'onBadRow'>): void {
  if (!(cause instanceof RecordError) && !(cause instanceof RunError && cause.code === 'image')) throw cause;
  onBadRow((placed(row, cause) as Error).message);
}

async function rowQuestions(row: Row, source: QuestionSource): Promise<Question[]> {
  const { ready, judge, seed, shuffle, overrides, runs } = source;
  const questions: Question[] = [];
  for (let run = 1; run <= runs; run += 1) {
    const plan = planRun(row, ready.guide, { seed, run, shuffle });
    for (const call of plan.calls.filter((planned) => planned.known === undefined)) {
      questions.push(await askQuestion(ready, judge, { record: row.record, call, run, seed, overrides }));
    }
  }
  return questions;
}

/** The number of questions and the maximum cost of a run, as one row. */
export async function surveyRun(rows: AsyncIterable<Row>, source: QuestionSource, price: Price | undefined) {
  let bad = 0;
  const sums = { questions: 0, cached: 0, calls: 0, images: 0, input_tokens: 0, max_output_tokens: 0 };
  const onBadRow = (message: string) => {
    bad += 1;
    source.onBadRow(message);
  };
  for await (const { question, isNew } of eachQuestion(rows, { ...source, onBadRow })) {
    sums.questions += 1;
    if (!isNew) {
      sums.cached += 1;
      continue;
    }
    sums.calls += 1;
    sums.images += question.request.images.length;
    sums.input_tokens += question.inputTokens;
    sums.max_output_tokens += question.request.parameters.maxTokens + source.judge.reasoningTokens;
  }
  const usd = (output: number) =>
    price && round(costOf(price, { input_tokens: sums.input_tokens, output_tokens: output }));
  return {
    judge: source.judge.name,
    guide: source.ready.guide.name,
    ...sums,
    bad_rows: bad,
    input_cost_usd: usd(0) ?? null,
    max_cost_usd: usd(sums.max_output_tokens) ?? null,
  };
}

function round(value: number): number {
  return Number(value.toPrecision(6));
}
