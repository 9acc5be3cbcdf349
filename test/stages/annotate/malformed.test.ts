// SPDX-License-Identifier: Apache-2.0
// Every place of every API's reply filled with what does not belong there: a state comes of it, never a crash.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Attempt } from '../../../src/http/attempt.ts';
import { readChatReply } from '../../../src/http/chat.ts';
import { readAnthropicReply } from '../../../src/stages/annotate/providers/anthropic.ts';
import { readGeminiReply } from '../../../src/stages/annotate/providers/gemini.ts';
import { answerBody } from '../../support/judge-server.ts';

const readers = { gemini: readGeminiReply, openai: readChatReply, anthropic: readAnthropicReply };
const FOREIGN = [null, true, -1, 1e308, '', 'text', [], [null], {}, { a: null }, [[]]];

/** Copies of a value, each with one place replaced. */
function* replaced(value: unknown): Generator<unknown> {
  yield* FOREIGN;
  if (typeof value !== 'object' || value === null) return;
  for (const [name, inner] of Object.entries(value))
    for (const other of replaced(inner)) {
      const copy = structuredClone(value) as Record<string, unknown>;
      copy[name] = other;
      yield copy;
    }
}

const failure = {
  error: {
    message: 'm',
    code: 'c',
    type: 't',
    status: 's',
    details: [{ reason: 'r', violations: [{ quotaId: 'q' }], retryDelay: '1s' }],
  },
};

test('replies and failures with any one place of another kind', () => {
  for (const [api, read] of Object.entries(readers))
    for (const [status, whole] of [
      [200, answerBody(api as keyof typeof readers, 'yes')],
      ...[400, 404, 429, 500].map((code) => [code, failure] as const),
    ] as const)
      for (const body of replaced(whole)) {
        const text = JSON.stringify(body);
        const attempt: Attempt = read({ status, headers: {}, body: text });
        assert.ok(attempt.outcome === 'ok' || typeof attempt.message === 'string', `${api} ${text}`);
        if (attempt.outcome === 'ok') assert.ok(attempt.text.trim() !== '', `${api} ${text}`);
        const { input_tokens = 1, output_tokens = 1 } = attempt.usage ?? {};
        assert.ok(input_tokens >= 0 && output_tokens >= 0 && input_tokens + output_tokens < 1e9, `${api} ${text}`);
      }
});
