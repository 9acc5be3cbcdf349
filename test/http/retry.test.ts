// SPDX-License-Identifier: Apache-2.0
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Attempt, failed } from '../../src/http/attempt.ts';
import { TransportError } from '../../src/http/client.ts';
import { FlowControl, FlowStopped } from '../../src/http/flow.ts';
import { backoffMs, callWithRetries, FatalCallError } from '../../src/http/retry.ts';
import { FakeClock } from '../support/fake-clock.ts';

type Step = Attempt | Error;

/** Runs one call through the given attempts; gives the end and the times of the attempts. */
async function play(steps: Step[], { maxAttempts = 5, maxDelayMs = 60_000, uniform = 0 } = {}) {
  const clock = new FakeClock();
  const flow = new FlowControl({ concurrency: 4 }, clock);
  const times: number[] = [];
  const ended = callWithRetries(
    10,
    async () => {
      const step = steps[Math.min(times.length, steps.length - 1)]!;
      times.push(clock.now());
      if (step instanceof Error) throw step;
      return step;
    },
    { who: 'server', flow, clock, maxAttempts, maxDelayMs, nextFloat: () => uniform },
  );
  ended.catch(() => {});
  await clock.runAll();
  return { attempt: await ended, times, flow };
}

const ok: Attempt = { outcome: 'ok', text: 'yes' };

test('waits double from half a second, with jitter downwards, up to the longest', () => {
  assert.deepEqual(
    [1, 2, 3, 9].map((number) => backoffMs(number, 0, 60_000)),
    [500, 1000, 2000, 60_000],
  );
  assert.equal(backoffMs(2, 0.5, 60_000), 750);
  assert.ok(backoffMs(1000, 0.999, 60_000) > 0);
});

test('transport failures are retried until one succeeds', async () => {
  const { attempt, times } = await play([
    new TransportError('ECONNRESET', 'reset'),
    failed('transport', '500', { retry: true }),
    ok,
  ]);
  assert.equal(attempt.outcome, 'ok');
  assert.deepEqual(times, [0, 500, 1500]);
});

test("a server's own delay is waited for", async () => {
  const { times, flow } = await play([
    failed('rate-limited', 'slow down', { retry: true, throttle: true, delayMs: 20_000 }),
    ok,
  ]);
  assert.ok(times[1]! >= 20_000 && times[1]! < 21_000, String(times[1]));
  assert.equal(flow.concurrency, 2);
});

test('attempts that are used up leave the state of the last', async () => {
  const { attempt, times } = await play([failed('rate-limited', 'no', { retry: true, throttle: true })], {
    maxAttempts: 3,
  });
  assert.equal(attempt.outcome, 'rate-limited');
  assert.equal(times.length, 3);
});

test('attempts with a server-supplied delay count as a quarter', async () => {
  const limited = failed('rate-limited', 'no', { retry: true, throttle: true, delayMs: 10 });
  const { attempt, times } = await play([limited], { maxAttempts: 3 });
  assert.deepEqual([attempt.outcome, times.length], ['rate-limited', 12]);
});

test('a refusal, a bad request or an answer is final at once', async () => {
  for (const end of [ok, failed('refused', 'no'), failed('invalid', 'bad'), failed('truncated', 'cut')]) {
    const { attempt, times } = await play([end]);
    assert.deepEqual([attempt.outcome, times.length], [end.outcome, 1]);
  }
});

test('a server that asks for more than the longest wait stops the run', async () => {
  const hour = failed('rate-limited', 'quota', { retry: true, throttle: true, delayMs: 3_600_000 });
  await assert.rejects(play([hour]), (cause: FatalCallError) => {
    assert.ok(cause instanceof FatalCallError);
    assert.equal(cause.code, 'rate-limited');
    return /^server: rate-limited: quota; the server asks to wait 3600 s, the longest wait allowed is 60 s$/.test(
      cause.message,
    );
  });
});

test('a key, a quota or a certificate that does not hold stops the run at the first attempt', async () => {
  await assert.rejects(play([failed('auth', 'no such key', { fatal: true })]), /server: auth: no such key/);
  const unsigned = new TransportError('DEPTH_ZERO_SELF_SIGNED_CERT', 'self-signed', true);
  await assert.rejects(play([unsigned]), FatalCallError);
});

test('a lost connection is a state, and whether the server may have done the work is known', async () => {
  const lost = await play([new TransportError('ECONNREFUSED', 'refused')], { maxAttempts: 2 });
  assert.deepEqual([lost.attempt.outcome, lost.attempt.brokeOff, lost.times.length], ['transport', false, 2]);
  const cut = await play([new TransportError('UND_ERR_SOCKET', 'other side closed')], { maxAttempts: 1 });
  assert.equal(cut.attempt.brokeOff, true);
});

test('a call with attempts left has no state when the run stops', async () => {
  const clock = new FakeClock();
  const flow = new FlowControl({ concurrency: 1 }, clock);
  const stop = new AbortController();
  const call = callWithRetries(0, async () => failed('transport', '503', { retry: true }), {
    ...{ who: 'server', flow, clock, maxAttempts: 9, maxDelayMs: 60_000, signal: stop.signal },
    nextFloat: () => 0,
  });
  setImmediate(() => stop.abort());
  await assert.rejects(call, FlowStopped);
});
