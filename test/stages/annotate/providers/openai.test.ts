// SPDX-License-Identifier: Apache-2.0
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { openaiApi } from '../../../../src/stages/annotate/providers/openai.ts';
import { judgeRequest, testImage } from '../../../support/judge-request.ts';

test('the body of a local server: system first, image as data URI, strict schema', () => {
  const api = openaiApi({ model: 'qwen', baseUrl: 'http://gpu7:8000/v1/' });
  assert.equal(api.url, 'http://gpu7:8000/v1/chat/completions');
  assert.deepEqual(api.headers, {});
  assert.deepEqual(api.body(judgeRequest({ temperature: 0 }), [testImage]), {
    model: 'qwen',
    messages: [
      { role: 'system', content: 'You judge.' },
      {
        role: 'user',
        content: [
          { type: 'image_url', image_url: { url: 'data:image/png;base64,QUJD' } },
          { type: 'text', text: 'Grade it.' },
        ],
      },
    ],
    max_tokens: 100,
    temperature: 0,
    response_format: {
      type: 'json_schema',
      json_schema: {
        name: 'judgement',
        strict: true,
        schema: {
          type: 'object',
          properties: { comment: { type: 'string' }, grade: { type: 'integer', enum: [0, 1, 2, 3, 4] } },
          required: ['comment', 'grade'],
          additionalProperties: false,
        },
      },
    },
  });
});

test("OpenAI's own server gets max_completion_tokens, its reasoning models room to reason", () => {
  const plain = openaiApi({ model: 'gpt-4o', key: 'sk-1' });
  assert.deepEqual(plain.headers, { authorization: 'Bearer sk-1' });
  assert.deepEqual([plain.body(judgeRequest(), []).max_completion_tokens, plain.info.temperature], [100, true]);
  const reasoning = openaiApi({ model: 'gpt-5-mini', key: 'sk-1' });
  assert.deepEqual(
    [reasoning.body(judgeRequest(), []).max_completion_tokens, reasoning.info.temperature],
    [8292, false],
  );
});

test('a family has its info at any host', () => {
  const request = judgeRequest({ stop: ['###'] });
  const at = (model: string) => openaiApi({ model, baseUrl: 'http://h/v1' }).body(request, []);
  for (const model of ['gpt-5-mini', 'openai/o3', 'GPT-5.1']) {
    const body = at(model);
    assert.deepEqual([body.max_completion_tokens, body.max_tokens, body.stop], [8292, undefined, undefined], model);
  }
  assert.deepEqual([at('qwen3').max_tokens, at('qwen3').stop], [100, ['###']]);
});

test('tokens of an image as documented', () => {
  const { imageTokens } = openaiApi({ model: 'gpt-4o', key: 'k' });
  assert.deepEqual([imageTokens(1024, 1024), imageTokens(2048, 4096), imageTokens(300, 200)], [765, 1105, 255]);
});
