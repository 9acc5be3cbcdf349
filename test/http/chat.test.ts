// SPDX-License-Identifier: Apache-2.0
// Covers src/http/attempt.ts
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { chatBody, readChatReply } from '../../src/http/chat.ts';

const image = { mediaType: 'image/png', base64: 'QUJD', sha256: '', width: 1, height: 1 };

test('the body has what was asked for and nothing else', () => {
  const messages = [
    {
      role: 'user' as const,
      content: [
        { type: 'image' as const, image },
        { type: 'text' as const, text: 'hi' },
      ],
    },
  ];
  assert.deepEqual(chatBody(messages, { model: 'm', maxTokens: 9, temperature: 0, n: 1, stop: [] }), {
    model: 'm',
    messages: [
      {
        role: 'user',
        content: [
          { type: 'image_url', image_url: { url: 'data:image/png;base64,QUJD' } },
          { type: 'text', text: 'hi' },
        ],
      },
    ],
    max_tokens: 9,
    temperature: 0,
  });
  const full = chatBody([{ role: 'user', content: 'x' }], {
    ...{ model: 'm', n: 3, topP: 0.9, topK: 5, seed: 7, logprobs: true, stop: ['###'] },
    maxTokensField: 'max_completion_tokens',
    maxTokens: 5,
    schema: { name: 's', schema: { type: 'object' } },
  });
  const { messages: _, ...rest } = full;
  assert.deepEqual(rest, {
    model: 'm',
    max_completion_tokens: 5,
    top_p: 0.9,
    top_k: 5,
    stop: ['###'],
    seed: 7,
    n: 3,
    logprobs: true,
    response_format: { type: 'json_schema', json_schema: { name: 's', strict: true, schema: { type: 'object' } } },
  });
});

function read(status: number, body: unknown, headers: Record<string, string> = {}) {
  return readChatReply({ status, headers, body: typeof body === 'string' ? body : JSON.stringify(body) });
}

function choice(content: string | null, finish_reason: string, more: object = {}) {
  return { choices: [{ message: { role: 'assistant', content, ...more }, finish_reason }] };
}

test('an answer with its usage, model and ids', () => {
  const reply = read(200, {
    ...choice('yes', 'stop'),
    id: 'c1',
    model: 'served',
    usage: {
      prompt_tokens: 10,
      completion_tokens: 4,
      completion_tokens_details: { reasoning_tokens: 2 },
      prompt_tokens_details: { cached_tokens: 8 },
    },
  });
  assert.deepEqual(
    [reply.outcome, reply.text, reply.model, reply.requestId, reply.finishReason],
    ['ok', 'yes', 'served', 'c1', 'stop'],
  );
  assert.deepEqual(reply.usage, { input_tokens: 10, output_tokens: 4, reasoning_tokens: 2, cached_tokens: 8 });
});

test('log-probabilities are summed over the tokens given', () => {
  const logprobs = { content: [{ logprob: -0.5 }, { logprob: -0.25 }] };
  const [first] = read(200, { choices: [{ message: { content: 'a b' }, finish_reason: 'stop', logprobs }] }).choices;
  assert.deepEqual([first!.logps, first!.numTokens], [-0.75, 2]);
});

test('failures with status 200', () => {
  const cases: [unknown, string][] = [
    [choice('half', 'length'), 'truncated'],
    [choice('', 'stop'), 'empty'],
    [choice(null, 'stop'), 'empty'],
    [choice('x', 'content_filter'), 'refused'],
    [choice(null, 'stop', { refusal: 'I cannot' }), 'refused'],
    [{ choices: [] }, 'empty'],
    [{ hello: 1 }, 'empty'],
    ['{"choices":[', 'transport'],
    ['', 'transport'],
    ['[]', 'transport'],
    [{ error: { message: 'upstream', code: 429 } }, 'rate-limited'],
    [{ error: { message: 'upstream' } }, 'transport'],
  ];
  for (const [body, outcome] of cases) assert.equal(read(200, body).outcome, outcome, JSON.stringify(body));
});

test('errors: what may be tried again, what ends the run, what is one row', () => {
  const error = (code: string, type = '') => ({ error: { message: 'm', code, type } });
  const cases: [number, unknown, string, { retry?: boolean; fatal?: boolean; throttle?: boolean }][] = [
    [401, error('invalid_api_key'), 'auth', { fatal: true }],
    [403, error('unsupported_country'), 'auth', { fatal: true }],
    [429, error('rate_limit_exceeded'), 'rate-limited', { retry: true, throttle: true }],
    [429, error('insufficient_quota'), 'quota-exhausted', { fatal: true }],
    [429, error('', 'insufficient_quota'), 'quota-exhausted', { fatal: true }],
    [402, error('payment'), 'quota-exhausted', { fatal: true }],
    [404, error('model_not_found'), 'invalid', { fatal: true }],
    [400, error('context_length_exceeded'), 'invalid', {}],
    [400, error('content_filter'), 'refused', {}],
    [500, 'oops', 'transport', { retry: true }],
    [503, error('overloaded'), 'transport', { retry: true, throttle: true }],
    [408, '', 'transport', { retry: true }],
    [409, '', 'transport', { retry: true }],
  ];
  for (const [status, body, outcome, flags] of cases) {
    const reply = read(status, body);
    const got = { retry: reply.retry ?? false, fatal: reply.fatal ?? false, throttle: reply.throttle ?? false };
    assert.equal(reply.outcome, outcome, `${status} ${JSON.stringify(body)}`);
    assert.deepEqual(
      got,
      { retry: false, fatal: false, throttle: false, ...flags },
      `${status} ${JSON.stringify(body)}`,
    );
  }
});

test("the server's retry decision and delay are used", () => {
  assert.equal(read(500, '', { 'x-should-retry': 'false' }).retry, false);
  assert.equal(read(400, '', { 'x-should-retry': 'true' }).retry, true);
  assert.equal(read(429, '', { 'retry-after': '3' }).delayMs, 3000);
  assert.match(read(400, { error: { message: 'line\nbreak' } }).message!, /^status 400: line break$/);
});
