// SPDX-License-Identifier: Apache-2.0
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseDuration, serverDelayMs } from '../../src/http/server-delay.ts';

const sent = 'Sat, 21 Nov 2026 10:00:00 GMT';

test('every form of a server-supplied delay', () => {
  assert.equal(serverDelayMs({ 'retry-after-ms': '1500' }), 1500);
  assert.equal(serverDelayMs({ 'retry-after': '7' }), 7000);
  assert.equal(serverDelayMs({ 'retry-after': '0.5' }), 500);
  assert.equal(serverDelayMs({ 'retry-after': 'Sat, 21 Nov 2026 10:00:20 GMT', date: sent }), 20_000);
  const retryInfo = { '@type': 'type.googleapis.com/google.rpc.RetryInfo', retryDelay: '45.83s' };
  assert.equal(serverDelayMs({}, { error: { details: [{ '@type': 'x/google.rpc.Help' }, retryInfo] } }), 45_830);
  const openai = { 'x-ratelimit-remaining-requests': '0', 'x-ratelimit-reset-requests': '6m0s' };
  assert.equal(serverDelayMs(openai), 360_000);
  const anthropic = {
    'anthropic-ratelimit-tokens-remaining': '0',
    'anthropic-ratelimit-tokens-reset': '2026-11-21T10:00:09Z',
    date: sent,
  };
  assert.equal(serverDelayMs(anthropic), 9000);
});

test('a date counts from the server clock, so a wrong local clock does no harm', () => {
  const longAgo = { 'retry-after': 'Mon, 01 Jan 2001 00:00:05 GMT', date: 'Mon, 01 Jan 2001 00:00:00 GMT' };
  assert.equal(serverDelayMs(longAgo), 5000);
  const past = { 'retry-after': 'Sat, 21 Nov 2026 09:59:00 GMT', date: sent };
  assert.equal(serverDelayMs(past), 0);
});

test('a limit with something left, or nonsense, asks for nothing', () => {
  const left = { 'x-ratelimit-remaining-requests': '12', 'x-ratelimit-reset-requests': '6m0s' };
  for (const headers of [{}, left, { 'retry-after': 'soon' }, { 'retry-after': '-3' }]) {
    assert.equal(serverDelayMs(headers), undefined);
  }
  assert.equal(serverDelayMs({}, { error: { details: 'none' } }), undefined);
  assert.equal(serverDelayMs({}, null), undefined);
});

test('durations', () => {
  const cases: [string, number | undefined][] = [
    ['6m0s', 360_000],
    ['120ms', 120],
    ['1d2h', 93_600_000],
    ['45.83s', 45_830],
    ['', undefined],
    ['5', undefined],
    ['5 s', undefined],
  ];
  for (const [text, ms] of cases) assert.equal(parseDuration(text), ms, text);
});
