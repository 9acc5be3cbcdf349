// SPDX-License-Identifier: Apache-2.0
// Asks one question: cache, budget, attempts, one repair. Returns the final state.
import type { Attempt } from '../../http/attempt.ts';
import { TransportError, wasNeverSent } from '../../http/client.ts';
import type { Clock, FlowControl } from '../../http/flow.ts';
import { callWithRetries } from '../../http/retry.ts';
import { randomStream } from '../../records/random.ts';
import type { Outcome } from '../../records/record.ts';
import { withoutReasoning } from '../../text/reasoning.ts';
import type { ReplyCache } from './cache.ts';
import { attemptCost, type Budget, costOf, type Price } from './cost.ts';
import type { Judge, JudgeRequest } from './judge.ts';
import { type Question, textTokens } from './question.ts';
import type { Reading, ReadResult } from './replies/reading.ts';
import { countUsage, type Tally } from './tally.ts';

/** What asking needs; one object per run. */
export interface Asking {
  judge: Judge;
  cache: ReplyCache;
  flow: FlowControl;
  clock: Clock;
  budget: Budget;
  price: Price | undefined;
  tally: Tally;
  maxAttempts: number;
  maxDelayMs: number;
  seed: number;
  /** Send an unreadable reply back once; false where no further call is possible (batch results). */
  repair: boolean;
  /** Starts no new attempt. */
  stopped: AbortSignal;
  /** Aborts running calls too. */
  aborted: AbortSignal;
  /** Writes one line per request. */
  log?: ((entry: Record<string, unknown>) => void) | undefined;
  /** Pending questions by key: rows with the same question share one call. */
  open: Map<string, Promise<JudgeReply>>;
}

/** How a question ended. */
export interface JudgeReply {
  outcome: Outcome;
  attempt: Attempt;
  reading?: Reading;
  message?: string;
  unrepairedText?: string;
}

/** The reply, from the cache, from a pending call, or from the judge. Throws FatalCallError and FlowStopped. */
export function askJudge(asking: Asking, question: Question, read: (text: string) => ReadResult): Promise<JudgeReply> {
  const { key } = question.request;
  asking.tally.questions += 1;
  const underWay = asking.open.get(key);
  if (underWay) {
    asking.tally.cached += 1;
    return underWay;
  }
  const reply = recallOrAsk(asking, question, read).finally(() => asking.open.delete(key));
  asking.open.set(key, reply);
  return reply;
}

async function recallOrAsk(
  asking: Asking,
  question: Question,
  read: (text: string) => ReadResult,
): Promise<JudgeReply> {
  const cached = await asking.cache.get(question.request.key);
  const known = cached && understood(cached.attempt, read);
  if (known === undefined) return askAndKeep(asking, question, read);
  asking.tally.cached += 1;
  return cached?.unrepairedText === undefined ? known : { ...known, unrepairedText: cached.unrepairedText };
}

async function askAndKeep(asking: Asking, question: Question, read: (text: string) => ReadResult): Promise<JudgeReply> {
  const reply = await askWithRepair(asking, question, read);
  if (reply.outcome === 'ok') {
    const { key } = question.request;
    const { attempt, unrepairedText } = reply;
    const repaired = unrepairedText === undefined ? {} : { unrepairedText };
    asking.cache.put({ key, judge: asking.judge.name, attempt, ...repaired });
  }
  return reply;
}

function understood(attempt: Attempt, read: (text: string) => ReadResult): JudgeReply | undefined {
  const result = read(attempt.text);
  return 'reading' in result ? { outcome: 'ok', attempt, reading: result.reading } : undefined;
}

async function askWithRepair(
  asking: Asking,
  question: Question,
  read: (text: string) => ReadResult,
): Promise<JudgeReply> {
  const first = await callJudge(asking, question, question.request, '');
  if (first.outcome === 'empty' && asking.repair) {
    return readOrState(await callJudge(asking, question, question.request, 'again'), read, first);
  }
  const reply = readOrState(first, read);
  if (reply.outcome !== 'unparsable' || !asking.repair) return reply;
  asking.tally.repaired += 1;
  const repair = repairRequest(question.request, first.text, reply.message!);
  return readOrState(await callJudge(asking, question, repair, 'repair'), read, first);
}

/** Maximum characters of an unreadable reply that are sent back and stored: some judges write megabytes. */
const MAX_UNREPAIRED = 20_000;

/** The state an attempt leaves the question in. `first` is the attempt that this one repeats after an unreadable reply. */
function readOrState(attempt: Attempt, read: (text: string) => ReadResult, first?: Attempt): JudgeReply {
  const usage = addUsage(first?.usage, attempt.usage);
  const whole = usage === undefined ? attempt : { ...attempt, usage };
  const before = first?.text ? { unrepairedText: first.text.slice(0, MAX_UNREPAIRED) } : {};
  if (attempt.outcome !== 'ok')
    return { outcome: attempt.outcome, attempt: whole, message: attempt.message ?? '', ...before };
  const result = read(attempt.text);
  if ('problem' in result) {
    const kept = { ...whole, text: whole.text.slice(0, MAX_UNREPAIRED) };
    return { outcome: 'unparsable', attempt: kept, message: result.problem, ...before };
  }
  return { outcome: 'ok', attempt: whole, reading: result.reading, ...before };
}

function addUsage(a: Attempt['usage'], b: Attempt['usage']): Attempt['usage'] {
  if (a === undefined || b === undefined) return b ?? a;
  return { input_tokens: a.input_tokens + b.input_tokens, output_tokens: a.output_tokens + b.output_tokens };
}

function repairRequest(request: JudgeRequest, text: string, problem: string): JudgeRequest {
  // If the judge only reasoned and gave no reply, show it that reasoning.
  const said = withoutReasoning(text) || text;
  const plea = `That reply cannot be read: ${problem}. Give the same judgement again in exactly the form that was asked for, with nothing before or after it.`;
  return {
    ...request,
    turns: [...request.turns, { role: 'assistant', text: said.slice(0, MAX_UNREPAIRED) }, { role: 'user', text: plea }],
  };
}

/** One call with its retries, each within the budget. Throws FatalCallError for states that stop the run. */
async function callJudge(asking: Asking, question: Question, request: JudgeRequest, step: string): Promise<Attempt> {
  const { judge, price, tally } = asking;
  const inputTokens = question.inputTokens + addedTokens(request, question.request);
  const maxOutput = request.parameters.maxTokens + judge.reasoningTokens;
  const most = price ? costOf(price, { input_tokens: inputTokens, output_tokens: maxOutput }) : 0;
  return callWithRetries(inputTokens + maxOutput, () => askWithinBudget(asking, request, most), {
    who: judge.name,
    flow: asking.flow,
    clock: asking.clock,
    maxAttempts: asking.maxAttempts,
    maxDelayMs: asking.maxDelayMs,
    signal: asking.stopped,
    nextFloat: randomStream(asking.seed, question.request.key, 'backoff', step).nextFloat,
    onAttempt: (tried, number, elapsedMs) => {
      const cost = price ? attemptCost(price, tried, most) : 0;
      tally.requests += 1;
      countUsage(tally, tried.usage);
      if (tally.cost !== undefined) tally.cost += cost;
      asking.log?.(logEntry(question, request, tried, { number, elapsedMs, step, cost }));
    },
  });
}

/** Tokens of the turns that a repair adds. */
function addedTokens({ turns }: JudgeRequest, first: JudgeRequest): number {
  return turns.slice(first.turns.length).reduce((sum, { text }) => sum + textTokens(text), 0);
}

/** One attempt. Sends nothing that could take the run over its maximum cost. */
async function askWithinBudget({ budget, judge, price, aborted }: Asking, request: JudgeRequest, most: number) {
  await budget.reserve(most);
  // A request that broke off may have been processed and billed; one that was never sent was not.
  let cost = most;
  try {
    const attempt = await judge.ask(request, aborted);
    cost = price ? attemptCost(price, attempt, most) : 0;
    return attempt;
  } catch (cause) {
    if (!(cause instanceof TransportError) || wasNeverSent(cause)) cost = 0;
    throw cause;
  } finally {
    budget.settle(most, cost);
  }
}

function logEntry(
  question: Question,
  request: JudgeRequest,
  attempt: Attempt,
  call: { number: number; elapsedMs: number; step: string; cost: number },
): Record<string, unknown> {
  return {
    id: request.about.record.id,
    run: request.about.run,
    key: question.request.key,
    ...(call.step === '' ? {} : { step: call.step }),
    attempt: call.number,
    outcome: attempt.outcome,
    ...(attempt.message === undefined ? {} : { message: attempt.message }),
    ms: Math.round(call.elapsedMs),
    ...(attempt.delayMs === undefined ? {} : { server_delay_ms: Math.round(attempt.delayMs) }),
    ...(attempt.requestId === undefined ? {} : { request_id: attempt.requestId }),
    ...(attempt.usage === undefined ? {} : { usage: attempt.usage }),
    cost_usd: call.cost,
  };
}
