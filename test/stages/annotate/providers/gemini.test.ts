// SPDX-License-Identifier: Apache-2.0
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { geminiApi, readGeminiReply } from '../../../../src/stages/annotate/providers/gemini.ts';
import { judgeRequest, testImage } from '../../../support/judge-request.ts';

test('the body: images first, system apart, schema in its dialect, thinking on top of the reply', () => {
  const api = geminiApi({ model: 'gemini-2.5-pro', key: 'k' });
  assert.equal(api.url, 'https://generativelanguage.googleapis.com/v1beta/models/gemini-2.5-pro:generateContent');
  assert.deepEqual(api.headers, { 'x-goog-api-key': 'k' });
  assert.deepEqual(api.body(judgeRequest({ temperature: 0, topP: 0.5, stop: ['###'], seed: 3 }), [testImage]), {
    contents: [
      {
        role: 'user',
        parts: [{ inlineData: { mimeType: 'image/png', data: 'QUJD' } }, { text: 'Grade it.' }],
      },
    ],
    systemInstruction: { parts: [{ text: 'You judge.' }] },
    generationConfig: {
      maxOutputTokens: 100 + 8192,
      temperature: 0,
      topP: 0.5,
      stopSequences: ['###'],
      seed: 3,
      responseMimeType: 'application/json',
      responseSchema: {
        type: 'OBJECT',
        properties: { comment: { type: 'STRING' }, grade: { type: 'INTEGER', minimum: 0, maximum: 4 } },
        required: ['comment', 'grade'],
        propertyOrdering: ['comment', 'grade'],
      },
    },
  });
});

test('a thinking budget of the user goes to the server', () => {
  const body = geminiApi({ model: 'gemini-2.5-flash', key: 'k', reasoningTokens: 0 }).body(judgeRequest(), []);
  const config = body.generationConfig as Record<string, unknown>;
  assert.deepEqual([config.maxOutputTokens, config.thinkingConfig], [100, { thinkingBudget: 0 }]);
});

test('a conversation has the roles user and model', () => {
  const request = judgeRequest();
  request.turns.push({ role: 'assistant', text: 'bad' }, { role: 'user', text: 'again' });
  const { contents } = geminiApi({ model: 'm', key: 'k' }).body(request, [testImage]) as {
    contents: { role: string; parts: unknown[] }[];
  };
  assert.deepEqual(
    contents.map((turn) => [turn.role, turn.parts.length]),
    [
      ['user', 2],
      ['model', 1],
      ['user', 1],
    ],
  );
});

function read(status: number, body: unknown, headers = {}) {
  return readGeminiReply({ status, headers, body: typeof body === 'string' ? body : JSON.stringify(body) });
}

const candidate = (finishReason: string, parts: object[] = []) => ({
  candidates: [{ content: { parts }, finishReason }],
});

test('a reply: thoughts are removed and counted as output', () => {
  const reply = read(200, {
    ...candidate('STOP', [{ text: 'hmm', thought: true }, { text: '{"a":' }, { text: '1}' }]),
    usageMetadata: {
      promptTokenCount: 50,
      candidatesTokenCount: 7,
      thoughtsTokenCount: 30,
      cachedContentTokenCount: 5,
    },
    modelVersion: 'gemini-2.5-pro-001',
    responseId: 'abc',
  });
  assert.deepEqual(
    [reply.outcome, reply.text, reply.model, reply.requestId],
    ['ok', '{"a":1}', 'gemini-2.5-pro-001', 'abc'],
  );
  assert.deepEqual(reply.usage, { input_tokens: 50, output_tokens: 37, reasoning_tokens: 30, cached_tokens: 5 });
});

test('failures with status 200', () => {
  const cases: [unknown, string][] = [
    [{ promptFeedback: { blockReason: 'SAFETY' } }, 'refused'],
    ...['SAFETY', 'RECITATION', 'PROHIBITED_CONTENT', 'BLOCKLIST', 'SPII', 'IMAGE_SAFETY'].map(
      (reason): [unknown, string] => [candidate(reason, [{ text: 'part' }]), 'refused'],
    ),
    [candidate('MAX_TOKENS'), 'truncated'],
    [candidate('MAX_TOKENS', [{ text: '{"cut' }]), 'truncated'],
    [candidate('STOP'), 'empty'],
    [candidate('STOP', [{ text: 'only a thought', thought: true }]), 'empty'],
    [{ candidates: [{ finishReason: 'STOP' }] }, 'empty'],
    [candidate('OTHER', [{ text: 'x' }]), 'empty'],
    [{ candidates: [] }, 'empty'],
    [{}, 'empty'],
    [{ candidates: 'x' }, 'empty'],
    ['{"candidates": [{"cont', 'transport'],
    ['[]', 'transport'],
    ['null', 'transport'],
  ];
  for (const [body, outcome] of cases) assert.equal(read(200, body).outcome, outcome, JSON.stringify(body));
});

test('errors by status, reason and quota', () => {
  const error = (code: number, status: string, details: object[] = []) => ({
    error: { code, message: 'm', status, details },
  });
  const quota = (quotaId: string) => ({
    '@type': 'type.googleapis.com/google.rpc.QuotaFailure',
    violations: [{ quotaId }],
  });
  const info = { '@type': 'type.googleapis.com/google.rpc.RetryInfo', retryDelay: '12.5s' };
  const minute = read(429, error(429, 'RESOURCE_EXHAUSTED', [quota('GenerateRequestsPerMinutePerProject'), info]));
  assert.deepEqual(
    [minute.outcome, minute.retry, minute.throttle, minute.delayMs],
    ['rate-limited', true, true, 12_500],
  );
  const day = read(
    429,
    error(429, 'RESOURCE_EXHAUSTED', [quota('GenerateRequestsPerDayPerProjectPerModel-FreeTier'), info]),
  );
  assert.deepEqual([day.outcome, day.fatal], ['quota-exhausted', true]);
  const key = read(400, error(400, 'INVALID_ARGUMENT', [{ '@type': 'x', reason: 'API_KEY_INVALID' }]));
  assert.deepEqual([key.outcome, key.fatal], ['auth', true]);
  assert.equal(read(400, error(400, 'FAILED_PRECONDITION')).outcome, 'auth');
  assert.equal(read(403, error(403, 'PERMISSION_DENIED')).outcome, 'auth');
  assert.deepEqual([read(404, error(404, 'NOT_FOUND')).outcome, read(404, '').fatal], ['invalid', true]);
  assert.deepEqual([read(400, error(400, 'INVALID_ARGUMENT')).outcome, read(400, '').fatal], ['invalid', undefined]);
  for (const status of [408, 500, 502, 503, 504])
    assert.deepEqual([read(status, '').outcome, read(status, '<html>').retry], ['transport', true]);
});

test('tokens of an image as documented', () => {
  const { imageTokens } = geminiApi({ model: 'm', key: 'k' });
  assert.deepEqual([imageTokens(384, 300), imageTokens(768, 768), imageTokens(1000, 700)], [258, 258, 516]);
});
