// SPDX-License-Identifier: Apache-2.0
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { modelInfo } from '../../src/http/model-info.ts';

test('what each family takes, by names as vendors, clouds and routers write them', () => {
  // temperature, top_p, both, stop, max tokens field, reasoning tokens
  const all = [true, true, true, true, undefined, 0];
  const openai = [false, false, true, false, 'max_completion_tokens', 8192];
  const cases: [string[], unknown[]][] = [
    [
      ['gpt-5', 'gpt-5-mini-2025-08-07', 'gpt-5.1', 'gpt-6', 'openai/gpt-5', 'o1', 'o3-mini', 'o4-mini-2025-04-16'],
      openai,
    ],
    [['gpt-5-chat-latest'], [true, true, true, true, 'max_completion_tokens', 0]],
    [['gpt-4o', 'gpt-4.1-mini', 'ft:gpt-4o:mine', 'gpt-oss-120b', 'qwen3', 'olmo', 'o1x', ''], all],
    [
      ['claude-opus-4-7', 'claude-opus-4-10', 'claude-opus-5', 'us.anthropic.claude-opus-4-7-v1:0'],
      [false, false, true, true, undefined, 0],
    ],
    [
      [
        'claude-opus-4-1',
        'claude-opus-4-1-20250805',
        'claude-sonnet-4-5',
        'anthropic/claude-opus-4.6',
        'claude-haiku-4-5@20251001',
      ],
      [true, true, false, true, undefined, 0],
    ],
    [
      ['claude-opus-4-20250514', 'claude-3-7-sonnet-20250219', 'claude-3-5-sonnet-latest', 'claude-3-haiku-20240307'],
      all,
    ],
    [
      ['gemini-3-pro-preview', 'models/gemini-3.1-flash', 'gemini-4-pro'],
      [false, true, true, true, undefined, 8192],
    ],
    [
      ['gemini-2.5-pro', 'google/gemini-2.5-flash'],
      [true, true, true, true, undefined, 8192],
    ],
    [['gemini-2.0-flash-001', 'gemini-flash-latest'], all],
  ];
  for (const [models, expected] of cases)
    for (const model of models) {
      const info = modelInfo(model);
      assert.deepEqual(
        [info.temperature, info.topP, info.temperatureWithTopP, info.stop, info.maxTokensField, info.reasoningTokens],
        expected,
        model,
      );
    }
});
