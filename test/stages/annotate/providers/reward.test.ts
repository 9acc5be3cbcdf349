// SPDX-License-Identifier: Apache-2.0
// Covers src/stages/annotate/providers/reward-apis.ts src/stages/annotate/replies/reward.ts
// A server on loopback in each form that the documentation of vLLM and SGLang shows.
import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type TestContext, test } from 'node:test';
import type { VprefRecord } from '../../../../src/records/record.ts';
import { openAnnotate } from '../../../../src/stages/annotate/open.ts';
import type { JudgeOptions } from '../../../../src/stages/annotate/providers/provider.ts';
import { annotateSettings, runRecords } from '../../../support/annotate-stage.ts';
import { closeServer, listen } from '../../../support/judge-server.ts';

const DEMO = 'fixtures/demo/tiny-llava';
const image = 'fixtures/images/photo.jpg';
const record: VprefRecord = {
  id: 'a',
  images: [image],
  prompt: [
    { role: 'system', content: 'Be brief.' },
    { role: 'user', content: '<image>\nWhat is it?' },
  ],
  responses: [{ text: 'A cat.' }, { text: 'A very large dog.' }],
};

type Json = Record<string, unknown>;

/** A server that answers GETs from a table and POSTs by `reply`, and keeps what it was asked. */
async function serve(
  context: TestContext,
  gets: Record<string, unknown>,
  reply: (body: Json) => unknown,
  status = 200,
) {
  const calls: { method: string; path: string; body: Json; authorization: string | undefined }[] = [];
  const server = createServer(async (request, response) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk);
    const body = chunks.length > 0 ? JSON.parse(Buffer.concat(chunks).toString()) : {};
    const path = request.url!;
    calls.push({ method: request.method!, path, body, authorization: request.headers.authorization });
    const answer = request.method === 'GET' ? gets[path] : reply(body);
    if (answer === undefined) return void response.writeHead(404).end('{"detail":"Not Found"}');
    response.writeHead(request.method === 'GET' ? 200 : status, { 'content-type': 'application/json' });
    response.end(typeof answer === 'string' ? answer : JSON.stringify(answer));
  });
  await listen(server);
  context.after(() => closeServer(server));
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, calls };
}

async function rewarded(judge: string, more: Partial<JudgeOptions> = {}, guide = 'reward') {
  const settings = annotateSettings(judge, { guide, maxAttempts: 1 });
  Object.assign(settings.judgeOptions, more);
  const { stage } = await openAnnotate(settings);
  const [result] = await runRecords(stage, [record]);
  return result!.records[0]?.annotations?.[0] ?? assert.fail(result!.error?.message);
}

const vllmModels = { '/v1/models': { data: [{ id: 'rm', owned_by: 'vllm' }] } };
const lengthOf = ({ messages }: Json) => (messages as { content: string }[]).at(-1)!.content.length;

test("vLLM's pooling: messages with the images, the model's own number", async (context) => {
  const { url, calls } = await serve(context, vllmModels, (body) => ({
    ...{ object: 'list', model: 'rm', usage: { prompt_tokens: 7, total_tokens: 7, completion_tokens: 0 } },
    data: [{ index: 0, object: 'pooling', data: [-lengthOf(body) / 8] }],
  }));
  const entry = await rewarded(`reward:${url.replace('//', '//me:secretsecret@')}/`);
  assert.deepEqual([entry.outcome, entry.guide, entry.judge], ['ok', 'reward', `reward:${url}`]);
  assert.deepEqual(entry.scores, [{ reward: -0.75 }, { reward: -2.125 }]);
  assert.deepEqual(entry.usage, { input_tokens: 14, output_tokens: 0 });
  assert.deepEqual(
    calls.map(({ method, path }) => `${method} ${path}`),
    ['GET /v1/models', 'POST /pooling', 'POST /pooling'],
  );
  assert.ok(calls.every(({ authorization }) => authorization?.startsWith('Basic ')));
  const { messages, ...rest } = calls[1]!.body as { messages: Json[] };
  assert.deepEqual(rest, { model: 'rm', task: 'classify', use_activation: false });
  assert.deepEqual(messages[0], { role: 'system', content: 'Be brief.' });
  const [picture, question] = messages[1]!.content as Json[];
  assert.match((picture!.image_url as Json).url as string, /^data:image\/jpeg;base64,/);
  assert.deepEqual(question, { type: 'text', text: 'What is it?' });
  assert.deepEqual([messages[2]!.role, messages.length], ['assistant', 3]);
});

test("vLLM's classification by name, below /v1 where the URL says so", async (context) => {
  const { url, calls } = await serve(context, vllmModels, () => ({
    data: [{ index: 0, label: null, probs: [3.5], num_classes: 1 }],
  }));
  const entry = await rewarded(`reward:${url}/v1`, { rewardApi: 'vllm-classify' });
  assert.deepEqual(entry.scores, [{ reward: 3.5 }, { reward: 3.5 }]);
  assert.deepEqual(
    calls.map(({ path }) => path),
    ['/v1/models', '/v1/classify', '/v1/classify'],
  );
  assert.equal(calls[1]!.body.use_activation, false);
});

test("SGLang: text as the served model's template writes it, images beside", async (context) => {
  const gets = {
    '/v1/models': { data: [{ id: 'rm', owned_by: 'sglang' }] },
    '/get_model_info': { model_path: 'org/rm', tokenizer_path: 'org/rm', is_generation: false },
  };
  const { url, calls } = await serve(context, gets, ({ text }) => [
    { embedding: [String(text).length / 4], meta_info: { prompt_tokens: 9 } },
  ]);
  await assert.rejects(rewarded(`reward:${url}`), /--reward-template: expected the directory .*got org\/rm/);
  const entry = await rewarded(`reward:${url}/v1`, { rewardTemplate: DEMO });
  const posted = calls.filter(({ method }) => method === 'POST');
  assert.deepEqual(
    posted.map(({ path }) => path),
    ['/classify', '/classify'],
  );
  const texts = posted.map(({ body }) => String(body.text)).sort();
  // Whole turns, as the template writes them, and no start of another.
  assert.deepEqual(texts, [
    'Be brief. USER: <image>\nWhat is it? ASSISTANT: A cat. ',
    'Be brief. USER: <image>\nWhat is it? ASSISTANT: A very large dog. ',
  ]);
  assert.match((posted[0]!.body.image_data as string[])[0]!, /^data:image\/jpeg;base64,/);
  assert.deepEqual(
    entry.scores,
    texts.map((text) => ({ reward: text.length / 4 })),
  );
  assert.equal(entry.usage!.input_tokens, 18);
  // A text-only model would be scored as if the picture had been seen.
  await assert.rejects(
    rewarded(`reward:${url}`, { rewardTemplate: 'fixtures/tiny-text' }),
    /images: expected none for the served model/,
  );
});

test('anything but one finite number is a failed call', async (context) => {
  const cases: [unknown, RegExp][] = [
    [
      { data: [{ data: [[1], [2]] }] },
      /expected one finite number, got \[1,2\] \(2 numbers: a model of several classes/,
    ],
    [{ data: [{ data: [] }] }, /expected one finite number, got \[\]/],
    [{ data: [{ data: null }] }, /got null/],
    [{ data: [{ data: ['0.5'] }] }, /got "0.5"/],
    [{ data: [] }, /got null|got nothing|got \[null\]/],
    [{ data: [{ data: [1] }, { data: [2] }] }, /expected one finite number/],
    ['{"data": [{"data": [NaN]}]}', /JSON: it holds NaN/],
  ];
  for (const [answer, message] of cases) {
    const { url } = await serve(context, vllmModels, () => answer);
    const entry = await rewarded(`reward:${url}`);
    assert.notEqual(entry.outcome, 'ok', JSON.stringify(answer));
    assert.equal(entry.scores, undefined);
    assert.match(String(entry.message), message);
  }
});

test('a server that does not say what it is, and flags and guides that do not fit, are refused by name', async (context) => {
  const { url } = await serve(context, { '/v1/models': { data: [{ id: 'rm', owned_by: 'me' }] } }, () => undefined);
  await assert.rejects(
    rewarded(`reward:${url}`),
    /--reward-api: expected one of vllm-pooling, vllm-classify, sglang: .*owned_by "me"/,
  );
  await assert.rejects(rewarded('reward:localhost'), /--judge: expected reward:http/);
  await assert.rejects(rewarded('reward:http://127.0.0.1:1'), /127\.0\.0\.1:1\/v1\/models: /);
  await assert.rejects(rewarded('openai:m'), /--guide reward: guide reward and --judge reward:URL need each other/);
  const known = await serve(context, vllmModels, () => undefined);
  await assert.rejects(
    rewarded(`reward:${known.url}`, {}, 'helpsteer'),
    /--guide helpsteer: guide reward and --judge reward:URL need each other/,
  );
  const fatal = rewarded(`reward:${known.url}`);
  await assert.rejects(fatal, /status 404/);
});

test('a server of a chat model is refused after its first reply', async (context) => {
  const generating = {
    '/v1/models': { data: [{ id: 'chat', owned_by: 'sglang' }] },
    '/get_model_info': { model_path: 'org/chat', is_generation: true },
  };
  const sglang = await serve(context, generating, () => undefined);
  await assert.rejects(
    rewarded(`reward:${sglang.url}`),
    /--judge reward:.*: expected a server of a reward model, got SGLang serving org\/chat for generation/,
  );
  // vLLM: no such path, or a model that does not do this.
  for (const [status, answer] of [
    [404, { detail: 'Not Found' }],
    [400, { error: { message: 'The model does not support Pooling API', code: 400 } }],
    [501, { error: { message: 'not implemented' } }],
  ] as const) {
    const { url, calls } = await serve(context, vllmModels, () => answer, status);
    await assert.rejects(
      rewarded(`reward:${url}`),
      /expected a server of a reward model; a chat model judges as openai/,
    );
    assert.ok(calls.filter(({ method }) => method === 'POST').length <= 2);
  }
});
