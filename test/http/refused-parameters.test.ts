// SPDX-License-Identifier: Apache-2.0
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { failed } from '../../src/http/attempt.ts';
import { RefusedParameters } from '../../src/http/refused-parameters.ts';

const body = {
  model: 'm',
  max_tokens: 9,
  temperature: 0,
  top_p: 0.9,
  stop: ['#'],
  seed: 4,
  n: 2,
  generationConfig: { topP: 1, temperature: 0, thinkingConfig: {} },
};

/** What a server that complains so is sent from then on does not hold. */
function leftOut(complaint: unknown, status = 400): string[] {
  const refused = new RefusedParameters(() => {});
  refused.learn(failed('invalid', 'm'), { status, headers: {}, body: JSON.stringify(complaint) }, body);
  const flat = (sent: object): string[] =>
    Object.entries(sent).flatMap(([name, value]) => (name === 'generationConfig' ? flat(value as object) : [name]));
  const kept = flat(refused.apply(body));
  return [...new Set(flat(body))].filter((name) => !kept.includes(name));
}

test('complaints that name a parameter, in the words of each API', () => {
  const openai = (message: string, param?: string) => ({ error: { message, param, code: 'unsupported_parameter' } });
  const cases: [unknown, string[]][] = [
    [openai("Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead.", 'max_tokens'), ['max_tokens']],
    [openai("Unsupported value: 'temperature' does not support 0."), ['temperature']],
    [openai("Unsupported parameter: 'stop' is not supported with this model."), ['stop']],
    [{ type: 'error', error: { message: '`temperature` is deprecated for this model.' } }, ['temperature']],
    [{ error: { message: '`temperature` and `top_p` cannot both be specified for this model.' } }, ['top_p']],
    [{ detail: [{ loc: ['body', 'seed'], msg: 'Extra inputs are not permitted' }] }, ['seed']],
    [{ object: 'error', message: 'Unknown parameter: n', code: 400 }, ['n']],
    [
      { error: { message: 'thinkingConfig is not supported by this model', status: 'INVALID_ARGUMENT' } },
      ['thinkingConfig'],
    ],
  ];
  for (const [complaint, expected] of cases) assert.deepEqual(leftOut(complaint), expected, JSON.stringify(complaint));
  assert.deepEqual(leftOut({ detail: 'Unknown field seed' }, 422), ['seed']);
});

test('an error about a value, the prompt or the key names no parameter', () => {
  for (const message of [
    "This model's maximum context length is 512 tokens, you asked for max_tokens 700, which is not supported",
    'max_tokens is too large: 9000. This model supports at most 4096',
    'temperature must be between 0 and 2',
    'the image is not supported',
    'This model is deprecated. Please stop using it.',
    'content policy',
  ])
    assert.deepEqual(leftOut({ error: { message } }), [], message);
  assert.deepEqual(leftOut({ error: { message: "'temperature' is unsupported" } }, 500), []);
  assert.deepEqual(leftOut('temperature'), []);
  assert.deepEqual(leftOut(null), []);
});

test('one note for many calls; each spelling is tried once', () => {
  const said: string[] = [];
  const refused = new RefusedParameters((message) => said.push(message));
  const complain = (sent: Record<string, unknown>, name: string) =>
    refused.learn(
      failed('invalid', `status 400: ${name}`),
      { status: 400, headers: {}, body: JSON.stringify({ error: { message: `${name} is not supported` } }) },
      sent,
    ).again;
  assert.equal(complain(body, 'max_tokens'), true);
  assert.equal(complain(body, 'max_tokens'), true);
  assert.deepEqual(said, [
    'the server refuses max_tokens; from now on it is sent as max_completion_tokens: status 400: max_tokens',
  ]);
  const next = refused.apply(body);
  assert.deepEqual([next.max_completion_tokens, next.max_tokens], [9, undefined]);
  assert.equal(complain(next, 'max_completion_tokens'), true);
  const last = refused.apply(body);
  assert.deepEqual([last.max_completion_tokens, last.max_tokens], [undefined, undefined]);
  assert.equal(complain(last, 'max_tokens'), undefined);
});
