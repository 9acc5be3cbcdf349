// SPDX-License-Identifier: Apache-2.0
// annotate: asks a judge about the responses of each record and appends one entry per run to `annotations`.

import { mapOrdered } from '../../flow/ordered.ts';
import { type Row, type RowResult, rowError, type Stage } from '../../flow/stage.ts';
import { type RunSignals, runSignals } from '../../http/flow.ts';
import { placed, RecordError, RunError } from '../../records/error.ts';
import type { Annotation, Outcome } from '../../records/record.ts';
import { type Asking, askJudge, type JudgeReply } from './ask.ts';
import { claimCalls, claimFields, splitCall } from './claims.ts';
import { combineReadings } from './combine.ts';
import { BudgetSpent } from './cost.ts';
import type { Judge } from './judge.ts';
import { type PlannedCall, planRun } from './plan.ts';
import { askQuestion, type QuestionOverrides, type ReadyGuide, replyReader } from './question.ts';
import type { Reading } from './replies/reading.ts';
import { countEntry } from './tally.ts';

export interface AnnotateOptions {
  ready: ReadyGuide;
  /** All but the two signals, which the stage creates. */
  asking: Omit<Asking, 'stopped' | 'aborted' | 'open'>;
  runs: number;
  seed: number;
  shuffle: boolean;
  /** Splits responses into claims, instead of the judge. */
  splitter?: Judge | undefined;
  overrides: QuestionOverrides;
  /** Maximum unfinished rows: more than calls, so no call waits while a row is prepared. */
  window: number;
  /** Ends the run early: finished rows are yielded, then the signal's reason is thrown. */
  signal?: AbortSignal | undefined;
}

/** Rows that may wait behind a call that hangs until its time limit; other calls continue meanwhile. */
const HELD = { rows: 16_384, bytes: 64 * 1024 * 1024 };

/** After a fatal failure or a signal, running calls may still finish and be cached within this time. */
const GRACE_MS = 5000;

/** The stage. On a fatal failure, yields the finished rows, then throws a RunError. Closes the judge at the end. */
export function annotate(options: AnnotateOptions): Stage {
  return async function* (rows) {
    const run = new AnnotateRun(options);
    try {
      yield* mapOrdered(rows, {
        window: options.window,
        held: HELD,
        graceMs: GRACE_MS,
        signal: options.signal,
        start: (row) => run.row(row),
        stop: run.signals.stop,
        abort: run.signals.abort,
      });
    } finally {
      await options.asking.judge.close();
      await options.splitter?.close();
    }
  };
}

/** One pass over the rows with its two ways to end. */
class AnnotateRun {
  readonly #options: AnnotateOptions;
  readonly #asking: Asking;
  readonly signals: RunSignals;

  constructor(options: AnnotateOptions) {
    this.#options = options;
    this.signals = runSignals(options.asking.flow);
    const { stopped, aborted } = this.signals;
    this.#asking = { ...options.asking, stopped, aborted, open: new Map() };
  }

  /** The row's result. Rejects with an error if it must stop the run. */
  async row(row: Row): Promise<RowResult> {
    try {
      return await this.#annotateRow(row);
    } catch (cause) {
      const isRowsOwn = cause instanceof RecordError || (cause instanceof RunError && cause.code === 'image');
      if (isRowsOwn) return { row, records: [], error: rowError(placed(row, cause)) };
      throw cause instanceof BudgetSpent ? new RunError('max-cost', cause.message) : cause;
    }
  }

  async #annotateRow(row: Row): Promise<RowResult> {
    const entries: Annotation[] = [];
    const numRuns = Array.from({ length: this.#options.runs }, (_, index) => index + 1);
    const made = await Promise.all(numRuns.map((run) => this.#annotateRun(row, run)));
    entries.push(...made);
    this.#asking.tally.rows += 1;
    for (const entry of entries) countEntry(this.#asking.tally, entry);
    const record = { ...row.record, annotations: [...(row.record.annotations ?? []), ...entries] };
    const bad = entries.find((entry) => entry.outcome !== 'ok');
    if (bad === undefined) return { row, records: [record] };
    // One successful run is enough for later stages.
    const partial = entries.some((entry) => entry.outcome === 'ok');
    return {
      row,
      records: [record],
      error: { code: bad.outcome, message: String(bad.message ?? bad.outcome), partial },
    };
  }

  async #annotateRun(row: Row, run: number): Promise<Annotation> {
    const { ready, seed, shuffle } = this.#options;
    const plan = planRun(row, ready.guide, { seed, run, shuffle });
    const about = { guide: ready.guide, judge: this.#asking.judge.name, run, order: plan.order };
    if (ready.guide.claims) return this.#annotateClaims(row, plan.calls, about);
    const replies = await this.#askAll(row, plan.calls, run);
    return annotationEntry(row, plan.calls, replies, about);
  }

  async #annotateClaims(row: Row, calls: PlannedCall[], about: AboutEntry): Promise<Annotation> {
    const splits = calls.map(splitCall);
    const split = await this.#askAll(row, splits, about.run);
    if (split.some(isBad)) return annotationEntry(row, splits, split, about);
    const questions = calls.flatMap((call, index) => claimCalls(call, split[index]!.reply.reading!.claims!));
    const asked = await this.#askAll(row, questions, about.run);
    if (asked.some(isBad)) return annotationEntry(row, questions, asked, about);
    const usage = totalUsage([...split, ...asked]);
    const { splitter } = this.#options;
    return {
      ...entryHead(about, 'ok'),
      ...(splitter && { split_by: splitter.name }),
      ...claimFields(
        row.record,
        questions,
        asked.map(({ reply }) => reply.reading!),
      ),
      ...(usage && { usage }),
    };
  }

  /** Starts all calls of a run together, so a shared prompt prefix is computed once. */
  #askAll(row: Row, calls: PlannedCall[], run: number): Promise<Asked[]> {
    return Promise.all(calls.map((call) => this.#ask(row, call, run)));
  }

  async #ask(row: Row, call: PlannedCall, run: number): Promise<Asked> {
    if (call.known) return { reply: { outcome: 'ok', attempt: { outcome: 'ok', text: '' }, reading: call.known } };
    const { ready, seed, overrides, splitter } = this.#options;
    const item = { record: row.record, call, run, seed, overrides };
    const asking = call.isSplit && splitter ? { ...this.#asking, judge: splitter } : this.#asking;
    const question = await askQuestion(ready, asking.judge, item);
    const reader = replyReader(ready.guide, call);
    const reply = await askJudge(asking, question, (text) => reader.read(text, call.context));
    return { reply, promptSha256: question.promptSha256 };
  }
}

interface Asked {
  reply: JudgeReply;
  promptSha256?: string;
}

interface AboutEntry {
  guide: ReadyGuide['guide'];
  judge: string;
  run: number;
  order: number[] | undefined;
}

function isBad({ reply }: Asked): boolean {
  return reply.outcome !== 'ok';
}

function entryHead({ guide, judge, run, order }: AboutEntry, outcome: Outcome): Annotation {
  const shown = order === undefined ? {} : { order };
  return { guide: guide.name, guide_version: guide.version, judge, run, ...shown, outcome };
}

/** The entry of one run. Only a run whose calls all succeeded has scores; other runs record the outcome of each call. */
function annotationEntry(row: Row, calls: PlannedCall[], asked: Asked[], about: AboutEntry): Annotation {
  const { guide } = about;
  const bad = asked.find(isBad);
  const usage = totalUsage(asked);
  const head: Annotation = {
    ...entryHead(about, bad?.reply.outcome ?? 'ok'),
    ...(bad === undefined ? {} : { message: bad.reply.message ?? '' }),
  };
  const readings = asked.map(({ reply }) => reply.reading);
  if (bad === undefined) Object.assign(head, combineReadings(row.record, guide, calls, readings as Reading[]));
  if (calls.length === 1) return { ...head, ...callFields(asked[0]!), ...(usage ? { usage } : {}) };
  const each = calls.map((call, index) => callEntry(call, asked[index]!));
  return { ...head, ...(usage ? { usage } : {}), calls: each };
}

/** The stored part of one reply. */
function callFields({ reply, promptSha256 }: Asked) {
  const { attempt, unrepairedText } = reply;
  return {
    ...(attempt.text === '' ? {} : { text: attempt.text }),
    ...(unrepairedText === undefined ? {} : { unrepaired_text: unrepairedText }),
    ...(attempt.model === undefined ? {} : { judge_model: attempt.model }),
    ...(attempt.finishReason === undefined ? {} : { finish_reason: attempt.finishReason }),
    ...(attempt.requestId === undefined ? {} : { request_id: attempt.requestId }),
    ...(promptSha256 === undefined ? {} : { prompt_sha256: promptSha256 }),
  };
}

function callEntry(call: PlannedCall, asked: Asked) {
  const { reply } = asked;
  const winner = reply.reading?.winner;
  return {
    ...(call.response === undefined ? { order: call.order } : { response: call.response }),
    ...(call.turn === undefined ? {} : { turn: call.turn }),
    outcome: reply.outcome,
    ...(reply.message === undefined ? {} : { message: reply.message }),
    ...(reply.reading?.scores === undefined ? {} : { scores: reply.reading.scores[0] }),
    ...(winner === undefined ? {} : { winner: winner === null ? null : call.order[winner] }),
    ...callFields(asked),
    ...(reply.attempt.usage === undefined ? {} : { usage: reply.attempt.usage }),
  };
}

function totalUsage(asked: Asked[]): Record<string, number> | undefined {
  const total: Record<string, number> = {};
  for (const { reply } of asked) {
    for (const [name, count] of Object.entries(reply.attempt.usage ?? {})) total[name] = (total[name] ?? 0) + count;
  }
  return Object.keys(total).length > 0 ? total : undefined;
}
