// SPDX-License-Identifier: Apache-2.0
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { anthropicApi, readAnthropicReply } from '../../../../src/stages/annotate/providers/anthropic.ts';
import { judgeRequest, testImage } from '../../../support/judge-request.ts';

test('the body: version header, image block, forced tool with the schema', () => {
  const api = anthropicApi({ model: 'claude-x', key: 'k' });
  assert.equal(api.url, 'https://api.anthropic.com/v1/messages');
  assert.deepEqual(api.headers, { 'anthropic-version': '2023-06-01', 'x-api-key': 'k' });
  const body = api.body(judgeRequest({ temperature: 0, topP: 0.9, stop: ['###'] }), [testImage]);
  assert.deepEqual(body, {
    model: 'claude-x',
    max_tokens: 100,
    system: 'You judge.',
    messages: [
      {
        role: 'user',
        content: [
          { type: 'image', source: { type: 'base64', media_type: 'image/png', data: 'QUJD' } },
          { type: 'text', text: 'Grade it.' },
        ],
      },
    ],
    temperature: 0,
    top_p: 0.9,
    stop_sequences: ['###'],
    tools: [
      {
        name: 'judgement',
        description: 'Submits the judgement.',
        input_schema: {
          type: 'object',
          properties: { comment: { type: 'string' }, grade: { type: 'integer', enum: [0, 1, 2, 3, 4] } },
          required: ['comment', 'grade'],
          additionalProperties: false,
        },
      },
    ],
    tool_choice: { type: 'tool', name: 'judgement' },
  });
});

function read(status: number, body: unknown, headers = {}) {
  return readAnthropicReply({ status, headers, body: typeof body === 'string' ? body : JSON.stringify(body) });
}

test('text and tool answers, with usage', () => {
  const usage = { input_tokens: 10, output_tokens: 5, cache_read_input_tokens: 90, cache_creation_input_tokens: 1 };
  const text = read(200, {
    id: 'm',
    model: 'c',
    content: [
      { type: 'text', text: 'a' },
      { type: 'text', text: 'b' },
    ],
    stop_reason: 'end_turn',
    usage,
  });
  assert.deepEqual([text.outcome, text.text, text.requestId], ['ok', 'ab', 'm']);
  assert.deepEqual(text.usage, { input_tokens: 101, output_tokens: 5, cached_tokens: 90 });
  const content = [
    { type: 'text', text: 'I grade' },
    { type: 'tool_use', name: 'judgement', input: { grade: 3 } },
  ];
  assert.equal(read(200, { content, stop_reason: 'tool_use' }).text, '{"grade":3}');
});

test('failures with status 200', () => {
  const stopped = (stop_reason: string, content: object[] = []) => ({ content, stop_reason });
  const cases: [unknown, string][] = [
    [stopped('refusal'), 'refused'],
    [stopped('max_tokens', [{ type: 'text', text: 'cut' }]), 'truncated'],
    [stopped('model_context_window_exceeded'), 'truncated'],
    [stopped('end_turn'), 'empty'],
    [{}, 'empty'],
    ['{"content', 'transport'],
  ];
  for (const [body, outcome] of cases) assert.equal(read(200, body).outcome, outcome, JSON.stringify(body));
});

test('errors', () => {
  const error = (type: string, message = 'm') => ({ type: 'error', error: { type, message } });
  const cases: [number, unknown, string, boolean][] = [
    [400, error('invalid_request_error'), 'invalid', false],
    [400, error('invalid_request_error', 'Your credit balance is too low to access the API'), 'quota-exhausted', true],
    [401, error('authentication_error'), 'auth', true],
    [403, error('permission_error'), 'auth', true],
    [404, error('not_found_error'), 'invalid', true],
    [413, error('request_too_large'), 'invalid', false],
    [429, error('rate_limit_error'), 'rate-limited', false],
    [500, error('api_error'), 'transport', false],
    [529, error('overloaded_error'), 'transport', false],
  ];
  for (const [status, body, outcome, fatal] of cases) {
    const reply = read(status, body);
    assert.deepEqual([reply.outcome, reply.fatal ?? false], [outcome, fatal], `${status}`);
  }
  assert.deepEqual([read(529, '').throttle, read(529, '').retry, read(500, '').throttle], [true, true, false]);
  assert.equal(read(429, '', { 'retry-after': '4' }).delayMs, 4000);
  assert.equal(read(400, '', { 'request-id': 'req_1' }).requestId, 'req_1');
});
