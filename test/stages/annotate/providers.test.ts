// SPDX-License-Identifier: Apache-2.0
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { UsageError } from '../../../src/records/error.ts';
import { openJudge } from '../../../src/stages/annotate/providers/index.ts';
import { localJudge } from '../../../src/stages/annotate/providers/local.ts';
import type { JudgeOptions } from '../../../src/stages/annotate/providers/provider.ts';
import { fakeContext } from '../../support/fake-engine.ts';
import { judgeRequest } from '../../support/judge-request.ts';
import { startJudgeServer } from '../../support/judge-server.ts';

const signal = new AbortController().signal;

function options(more: Partial<JudgeOptions> = {}): JudgeOptions {
  return {
    timeoutMs: 5000,
    concurrency: 2,
    environment: {},
    warn: () => {},
    openModel: () => Promise.reject(new Error('none')),
    ...more,
  };
}

/** The judge opens and is closed again; gives its name and identity. */
async function opened(spec: string, more: Partial<JudgeOptions> = {}) {
  const judge = await openJudge(spec, options(more));
  await judge.close();
  return judge;
}

test('an invalid judge is refused with the valid forms', async () => {
  for (const spec of ['', 'gemini', 'gemini:', ':x', 'gpt:4', 'toString:x', 'exec: ']) {
    await assert.rejects(
      opened(spec),
      (cause: Error) => cause instanceof UsageError && /expected anthropic:MODEL, /.test(cause.message),
      spec,
    );
  }
  await assert.rejects(opened('openai:m', { baseUrl: 'localhost:8000' }), /--base-url: expected http/);
  await assert.rejects(opened('openai:m', { baseUrl: 'file:///etc/passwd' }), /--base-url: expected http/);
});

test('keys come only from the environment; a local server needs none', async () => {
  await assert.rejects(opened('gemini:m'), /set the environment variable GEMINI_API_KEY or GOOGLE_API_KEY/);
  await assert.rejects(opened('anthropic:m', { environment: { ANTHROPIC_API_KEY: ' ' } }), /ANTHROPIC_API_KEY/);
  await assert.rejects(
    opened('openai:m', { environment: { OPENAI_API_KEY: 'a\nb' } }),
    /characters that are not allowed in a header/,
  );
  await opened('gemini:m', { environment: { GOOGLE_API_KEY: 'k' } });
  await opened('openai:m', { baseUrl: 'http://localhost:1/v1' });
  await opened('openai:m', { isSurvey: true });
  await assert.rejects(
    opened('openai:m', { baseUrl: 'http://localhost:1/v1', keyVariable: 'MINE' }),
    /set the environment variable MINE/,
  );
});

test('identity: another server, model or provider is another judge to the cache', async () => {
  const environment = { OPENAI_API_KEY: 'k1' };
  const identity = async (spec: string, more: Partial<JudgeOptions> = {}) =>
    JSON.stringify((await opened(spec, { environment, ...more })).identity);
  const first = await identity('openai:a');
  assert.equal(
    await identity('openai:a', { environment: { OPENAI_API_KEY: 'k2' } }),
    first,
    'the key is no part of it',
  );
  assert.notEqual(await identity('openai:b'), first);
  assert.notEqual(await identity('openai:a', { baseUrl: 'http://localhost:1/v1' }), first);
  assert.doesNotMatch(first, /k1/);
});

test('identity: a local model of another dtype, or asked through another template, is another judge', async () => {
  const identity = async (more: Parameters<typeof fakeContext>[1]) =>
    JSON.stringify((await localJudge('local:dir', { context: await fakeContext(undefined, more) })).identity);
  const first = await identity({});
  assert.equal(await identity({}), first);
  assert.notEqual(await identity({ template: { asked: 'vicuna_v1', otherwise: 'auto' } }), first);
  const { engine } = await fakeContext();
  assert.notEqual(await identity({ engine: { ...engine, info: { ...engine.info, dtype: 'bf16' } } }), first);
  assert.notEqual(await identity({ fingerprint: { model: 'sha256:other', adapter: null } }), first);
});

test('a key that the server repeats does not get into the message', async () => {
  const server = await startJudgeServer((call) => ({
    status: 400,
    json: { error: { message: `no ${call.headers.authorization}` } },
  }));
  const environment = { OPENAI_API_KEY: 'sk-very-secret' };
  const judge = await openJudge('openai:m', options({ environment, baseUrl: server.base('openai') }));
  assert.equal((await judge.ask(judgeRequest(), signal)).message, 'status 400: no Bearer ***');
  await judge.close();
  await server.close();
});

test('the engine as a judge: system and turns in the template, the reply with its end', async () => {
  const context = await fakeContext(() => 'Rating: [[7]]');
  const judge = await localJudge('local:dir', { context });
  const request = judgeRequest({ temperature: 0, maxTokens: 50 });
  request.turns.push({ role: 'assistant', text: 'No.' }, { role: 'user', text: 'Again.' });
  request.images = ['cat.png'];
  const reply = await judge.ask(request, signal);
  assert.deepEqual([reply.outcome, reply.text, reply.finishReason], ['ok', 'Rating: [[7]]', 'stop']);
  assert.ok(reply.usage!.output_tokens > 0);
  const [asked] = context.engine.generated;
  assert.deepEqual([asked!.temperature, asked!.maxNewTokens, asked!.numSamples, asked!.images.length], [0, 50, 1, 1]);
  const text = context.tokenizer.decode([...asked!.promptIds]);
  for (const part of ['You judge.', 'Grade it.', 'No.', 'Again.']) assert.ok(text.includes(part), part);
  assert.deepEqual(judge.identity, {
    ...{ provider: 'local', model: 'sha256:m', adapter: null, dtype: 'f32' },
    ...{ rendered: 'USER: ? ASSISTANT:', image_mode: 'pad' },
  });
});

test('a request that the engine refuses fails its row', async () => {
  const context = await fakeContext(() => 'x', {
    loadImage: async () => {
      throw new Error('unexpected');
    },
  });
  const judge = await localJudge('local:dir', { context });
  const long = judgeRequest();
  long.turns[0]!.text = 'word '.repeat(20_000);
  const reply = await judge.ask(long, signal);
  assert.equal(reply.outcome, 'invalid');
  assert.match(reply.message!, /max_position_embeddings/);
});
