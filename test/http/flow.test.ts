// SPDX-License-Identifier: Apache-2.0
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FlowControl, FlowStopped } from '../../src/http/flow.ts';
import { FakeClock } from '../support/fake-clock.ts';

/** Starts `count` calls that last `lasts` ms; gives their start times. */
async function startTimes(
  flow: FlowControl,
  clock: FakeClock,
  call: { count: number; lasts: number; tokens?: number },
) {
  const times: number[] = [];
  for (let index = 0; index < call.count; index += 1) {
    void flow.acquire(call.tokens ?? 0).then(async (slot) => {
      times.push(clock.now());
      await clock.sleep(call.lasts);
      slot.done();
    });
  }
  await clock.runAll();
  return times;
}

/** The most events in any window of one minute. */
function busiestMinute(times: number[], weight = 1): number {
  return Math.max(...times.map((from) => times.filter((at) => at >= from && at < from + 60_000).length * weight));
}

test('no minute, wherever it begins, holds more requests than allowed', async () => {
  const clock = new FakeClock();
  const flow = new FlowControl({ concurrency: 64, requestsPerMinute: 30 }, clock);
  const times = await startTimes(flow, clock, { count: 100, lasts: 10 });
  assert.equal(times.length, 100);
  assert.equal(busiestMinute(times), 30);
});

test('no minute holds more tokens than allowed, and what was not used is given back', async () => {
  const clock = new FakeClock();
  const flow = new FlowControl({ concurrency: 64, tokensPerMinute: 10_000 }, clock);
  const times = await startTimes(flow, clock, { count: 40, lasts: 10, tokens: 1000 });
  assert.equal(busiestMinute(times, 1000), 10_000);
  const before = clock.now();
  const unused = flow.acquire(10_000).then((slot) => slot.done(0));
  const [next] = await startTimes(flow, clock, { count: 1, lasts: 1, tokens: 1 });
  await unused;
  // What was waiting for its turn before is all that is waited for: ten calls of 1000 tokens at 10,000 a minute.
  assert.ok(next! - before <= 6000, String(next! - before));
});

test('a request larger than a minute of tokens still gets its turn', async () => {
  const clock = new FakeClock();
  const flow = new FlowControl({ concurrency: 4, tokensPerMinute: 100 }, clock);
  const times = await startTimes(flow, clock, { count: 2, lasts: 1, tokens: 500 });
  assert.deepEqual(times, [0, 300_000]);
});

test('never more concurrent calls than allowed, all in order of request', async () => {
  const clock = new FakeClock();
  const flow = new FlowControl({ concurrency: 3 }, clock);
  let running = 0;
  let most = 0;
  const order: number[] = [];
  for (let index = 0; index < 20; index += 1) {
    void flow.acquire(0).then(async (slot) => {
      order.push(index);
      running += 1;
      most = Math.max(most, running);
      await clock.sleep(5);
      running -= 1;
      slot.done();
    });
  }
  await clock.runAll();
  assert.equal(most, 3);
  assert.deepEqual(
    order,
    [...order].sort((a, b) => a - b),
  );
});

test('a throttle pauses all, halves once a pause, and successes bring the rest back', async () => {
  const clock = new FakeClock();
  const flow = new FlowControl({ concurrency: 8 }, clock);
  const slots = await Promise.all(Array.from({ length: 8 }, () => flow.acquire(0)));
  for (const slot of slots) slot.throttled(5000);
  assert.equal(flow.concurrency, 4, 'eight complaints about one overload halve once');
  const times = await startTimes(flow, clock, { count: 60, lasts: 10 });
  assert.equal(times[0], 5000);
  assert.equal(flow.concurrency, 8);
});

test('concurrency never falls below one', async () => {
  const clock = new FakeClock();
  const flow = new FlowControl({ concurrency: 2 }, clock);
  for (let round = 0; round < 5; round += 1) {
    const turn = flow.acquire(0).then((slot) => slot.throttled(10));
    await clock.runAll();
    await turn;
  }
  assert.equal(flow.concurrency, 1);
});

test('stop refuses waiting and later callers', async () => {
  const clock = new FakeClock();
  const flow = new FlowControl({ concurrency: 1 }, clock);
  await flow.acquire(0);
  const waiting = flow.acquire(0);
  flow.stop('enough');
  await assert.rejects(waiting, FlowStopped);
  await assert.rejects(flow.acquire(0), FlowStopped);
});
