// SPDX-License-Identifier: Apache-2.0
// sample --endpoint as a process against a server on loopback.
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { type Behaviour, type Seen, startJudgeServer } from '../support/judge-server.ts';
import { runCli } from '../support/run-cli.ts';

async function sampleFrom(
  context: TestContext,
  behave: (call: Seen) => Behaviour,
  args: string[],
  env: Record<string, string> = {},
) {
  const server = await startJudgeServer(behave);
  context.after(() => server.close());
  const input = ['a', 'b', 'c'].map((id) => `${JSON.stringify({ id, prompt: `Question ${id}?` })}\n`).join('');
  const endpoint = ['sample', '--endpoint', server.base('openai'), '--model', 'served'];
  return { server, result: await runCli([...endpoint, ...args], { input, env }) };
}

const answer = (call: Seen): Behaviour => ({ text: `to ${call.prompt}` });
const rows = (stdout: string) =>
  stdout
    .trim()
    .split('\n')
    .filter(Boolean)
    .map((line) => JSON.parse(line));

test('records in, records with responses out, in order', async (context) => {
  const { server, result } = await sampleFrom(context, answer, ['--label', 'vllm', '--key-env', 'MY_KEY'], {
    MY_KEY: 'k-12345678',
  });
  assert.equal(result.code, 0, result.stderr);
  assert.deepEqual(
    rows(result.stdout).map(({ id, responses }) => [id, responses[0].text, responses[0].label]),
    ['a', 'b', 'c'].map((id) => [id, `to Question ${id}?`, 'vllm']),
  );
  assert.equal(server.calls[0]!.headers.authorization, 'Bearer k-12345678');
  assert.deepEqual(Object.keys(server.calls[0]!.body).sort(), [
    'max_tokens',
    'messages',
    'model',
    'seed',
    'temperature',
  ]);
});

test('a row that the server refuses: stop by default, kept on request', async (context) => {
  const behave = (call: Seen): Behaviour =>
    call.prompt.includes('b?') ? { status: 400, json: { error: { message: 'too long' } } } : answer(call);
  const stopped = await sampleFrom(context, behave, ['-q']);
  assert.equal(stopped.result.code, 1);
  assert.match(stopped.result.stderr, /stdin:2: record "b": status 400: too long/);
  assert.deepEqual(
    rows(stopped.result.stdout).map((row) => row.id),
    ['a'],
  );
  const kept = await sampleFrom(context, behave, ['-q', '--on-error', 'keep']);
  assert.equal(kept.result.code, 3);
  assert.deepEqual(
    rows(kept.result.stdout).map((row) => row.error?.code ?? 'ok'),
    ['ok', 'invalid', 'ok'],
  );
});

test('a server that does not know the model stops the run', async (context) => {
  const behave = (): Behaviour => ({ status: 404, json: { error: { message: 'The model `served` does not exist' } } });
  const { server, result } = await sampleFrom(context, behave, ['--on-error', 'keep', '--concurrency', '1', '-q']);
  assert.equal(result.code, 1);
  assert.match(result.stderr, /status 404: The model `served` does not exist/);
  assert.equal(server.calls.length, 1);
});
