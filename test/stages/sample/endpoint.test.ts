// SPDX-License-Identifier: Apache-2.0
// Covers src/stages/sample/sampling-params.ts
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { openHttpClient } from '../../../src/http/client.ts';
import type { Response, VprefRecord } from '../../../src/records/record.ts';
import { SAMPLING_DEFAULTS } from '../../../src/records/sampling-settings.ts';
import { endpointFlow, sampleEndpoint } from '../../../src/stages/sample/endpoint.ts';
import type { EndpointSampling } from '../../../src/stages/sample/endpoint-server.ts';
import { hastyClock, runRecords } from '../../support/annotate-stage.ts';
import { type Behaviour, type Seen, startJudgeServer } from '../../support/judge-server.ts';

const PNG =
  'data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNk+A8AAQUBAScY42YAAAAASUVORK5CYII=';

const DEFAULTS: EndpointSampling = {
  ...SAMPLING_DEFAULTS,
  ...{ model: 'm', maxNewTokens: 64, stop: [] },
  ...{ seed: 0, views: 'original' },
};

interface Body {
  messages: { role: string; content: string | { type: string; text?: string; image_url?: { url: string } }[] }[];
  n?: number;
  seed: number;
  [field: string]: unknown;
}

const bodyOf = (call: Seen) => call.body as unknown as Body;

/** A server that answers n times with what it was asked. */
function echo(call: Seen, { most = 99, finish_reason = 'stop' } = {}): Behaviour {
  const { messages, n = 1, seed } = bodyOf(call);
  const content = messages.at(-1)!.content;
  const last = typeof content === 'string' ? content : content.map((part) => part.text ?? '').join('');
  const logprobs = call.body.logprobs ? { content: [{ logprob: -0.5 }, { logprob: -1 }] } : null;
  const choices = Array.from({ length: Math.min(n, most) }, (_, index) => ({
    index,
    message: { role: 'assistant', content: `re ${last.trim()} #${index} ${seed}` },
    finish_reason,
    logprobs,
  }));
  return { json: { id: 'c', model: 'served', choices, usage: { prompt_tokens: 5, completion_tokens: 5 } } };
}

async function sample(
  context: TestContext,
  records: VprefRecord[],
  sampling: Partial<EndpointSampling> = {},
  behave: (call: Seen) => Behaviour = (call) => echo(call),
  urlOf: (base: string) => string = (base) => `${base}/`,
) {
  const server = await startJudgeServer(behave);
  const client = await openHttpClient({ timeoutMs: 5000 });
  context.after(async () => {
    await client.close();
    await server.close();
  });
  const warnings: string[] = [];
  const stage = sampleEndpoint({
    client,
    baseUrl: urlOf(server.base('openai')),
    key: 'sk-endpoint-key',
    sampling: { ...DEFAULTS, ...sampling },
    flow: endpointFlow(8),
    clock: hastyClock,
    maxAttempts: 3,
    maxDelayMs: 60_000,
    window: 16,
    warn: (message) => warnings.push(message),
  });
  return { results: await runRecords(stage, records), server, warnings };
}

test('n samples of a prompt with its image, every option passed on', async (context) => {
  const record = { id: 'a', images: [PNG], prompt: 'What is it?' };
  const options = {
    numSamples: 3,
    temperature: 0.7,
    topP: 0.9,
    topK: 40,
    maxNewTokens: 50,
    stop: ['###'],
    label: 'vllm',
  };
  const { results, server } = await sample(context, [record], options);
  const { messages, seed, ...rest } = bodyOf(server.calls[0]!);
  assert.deepEqual(messages, [
    {
      role: 'user',
      content: [
        { type: 'image_url', image_url: { url: PNG } },
        { type: 'text', text: 'What is it?' },
      ],
    },
  ]);
  assert.deepEqual(rest, { model: 'm', max_tokens: 50, temperature: 0.7, top_p: 0.9, top_k: 40, stop: ['###'], n: 3 });
  assert.equal(server.calls[0]!.headers.authorization, 'Bearer sk-endpoint-key');
  const out = results[0]!.records[0]!;
  assert.deepEqual(
    out.responses,
    [0, 1, 2].map((index) => ({
      ...{ text: `re What is it? #${index} ${seed}`, view: 'original', label: 'vllm', finish_reason: 'stop', seed },
    })),
  );
  assert.deepEqual(out.sampling, {
    model: 'm',
    temperature: 0.7,
    top_p: 0.9,
    top_k: 40,
    max_new_tokens: 50,
    stop: ['###'],
    seed: 0,
  });
});

test('a server that gives one response per request is asked until there are n', async (context) => {
  const { results, server } = await sample(context, [{ id: 'a', prompt: 'Q' }], { numSamples: 3 }, (call) =>
    echo(call, { most: 1 }),
  );
  assert.equal(server.calls.length, 3);
  assert.equal(
    new Set(results[0]!.records[0]!.responses!.map((response) => response.text)).size,
    3,
    'each with its own seed',
  );
});

test('turns with content null are generated; each sample continues its own dialogue', async (context) => {
  const prompt: VprefRecord['prompt'] = [
    { role: 'system', content: 'Be brief.' },
    { role: 'user', content: '<image>First?' },
    { role: 'assistant', content: null },
    { role: 'user', content: 'Second?' },
  ];
  const { results, server } = await sample(context, [{ id: 'a', images: [PNG], prompt }], { numSamples: 2 });
  assert.equal(server.calls.length, 3);
  const { responses } = results[0]!.records[0]!;
  for (const [index, response] of responses!.entries()) {
    assert.equal(response.turns!.length, 2);
    assert.match(response.turns![0]!, new RegExp(`^re First\\? #${index}`));
    assert.equal(response.text, response.turns![1]);
    const own = server.calls.find((call) => JSON.stringify(call.body).includes(JSON.stringify(response.turns![0])))!;
    assert.deepEqual(
      bodyOf(own).messages.map((message) => message.role),
      ['system', 'user', 'assistant', 'user'],
    );
  }
});

test('views with images, the original first; a recipe only the engine can apply is an error', async (context) => {
  const other = `${PNG.slice(0, -4)}AAA=`;
  const views = [
    { name: 'flip', ops: [{ op: 'hflip' }], seed: 1, images: [PNG] },
    { name: 'crop', ops: [{ op: 'crop' }], seed: 1, images: [other] },
  ];
  const record = { id: 'a', images: [PNG], prompt: 'Q', views };
  const names = (responses: Response[]) => responses.map((response) => response.view);
  const all = await sample(context, [record], { views: 'all' });
  assert.deepEqual(names(all.results[0]!.records[0]!.responses!), ['original', 'flip', 'crop']);
  const one = await sample(context, [record], { views: 'crop' });
  assert.deepEqual(names(one.results[0]!.records[0]!.responses!), ['crop']);
  assert.ok(JSON.stringify(one.server.calls[0]!.body).includes(other));
  const noisy = { ...record, views: [{ name: 'noise', ops: [{ op: 'diffusion', step: 800, seed: 1 }], seed: 1 }] };
  const bad = await sample(context, [noisy, record], { views: 'noise' });
  assert.match(bad.results[0]!.error!.message, /test\.ndjson:1: views\.noise: expected image files/);
  assert.match(bad.results[1]!.error!.message, /views: expected one named "noise", got original flip crop/);
});

test("log-probabilities under a name of their own, and the record's own parameters", async (context) => {
  const record = {
    id: 'a',
    prompt: 'Q',
    sampling_params: { temperature: 0.1, max_new_tokens: 7 },
    responses: [{ text: 'old' }],
  };
  const { results, server } = await sample(context, [record], { logprobs: true, temperature: 1 });
  const { temperature, max_tokens, logprobs } = bodyOf(server.calls[0]!);
  assert.deepEqual([temperature, max_tokens, logprobs], [0.1, 7, true]);
  const [old, made] = results[0]!.records[0]!.responses as (Response & { endpoint_logps?: number })[];
  assert.equal(old!.text, 'old');
  assert.deepEqual([made!.endpoint_logps, made!.num_tokens, made!.logps], [-1.5, 2, undefined]);
});

test('sampling has the stop texts', async (context) => {
  const record = { id: 'a', prompt: 'Q', sampling_params: { stop: ['END'] } };
  const { results } = await sample(context, [record], {});
  assert.deepEqual(results[0]!.records[0]!.sampling!.stop, ['END']);
});

test('a record whose sampling_params ask for what a server does not get is refused', async (context) => {
  const records = [{ beams: 4 }, { stop_repeats: 8 }].map((sampling_params) => ({
    id: 'a',
    prompt: 'Q',
    sampling_params,
  }));
  const { results, server } = await sample(context, records, {});
  assert.match(
    results[0]!.error!.message,
    /sampling_params\.beams: expected 1 \(an endpoint does not take it\), got 4/,
  );
  assert.match(
    results[1]!.error!.message,
    /sampling_params\.stop_repeats: expected 0 \(an endpoint does not take it\), got 8/,
  );
  assert.equal(server.calls.length, 0);
});

test('finish reasons are stored; a failed call fails only its row', async (context) => {
  const behave = (call: Seen): Behaviour => {
    if (call.prompt.includes('long')) return echo(call, { finish_reason: 'length' });
    if (call.prompt.includes('filtered')) return echo(call, { finish_reason: 'content_filter' });
    if (call.prompt.includes('bad')) return { status: 400, json: { error: { message: 'too long' } } };
    if (call.prompt.includes('down')) return { status: 500, json: {} };
    if (call.prompt.includes('shaky') && call.attempt < 3)
      return { fault: call.attempt === 1 ? 'reset' : 'reset-in-body' };
    return echo(call);
  };
  const prompts = ['long', 'filtered', 'bad', 'down', 'shaky', 'fine'];
  const { results } = await sample(
    context,
    prompts.map((prompt) => ({ id: prompt, prompt })),
    {},
    behave,
  );
  const ends = results.map(({ records, error }) => error?.code ?? records[0]!.responses![0]!.finish_reason);
  assert.deepEqual(ends, ['length', 'error', 'invalid', 'transport', 'stop', 'stop']);
});

test('a wrong key stops the run and is not repeated in the message', async (context) => {
  const refuse = (): Behaviour => ({ status: 401, json: { error: { message: 'bad key sk-endpoint-key' } } });
  await assert.rejects(
    sample(
      context,
      [
        { id: 'a', prompt: 'Q' },
        { id: 'b', prompt: 'Q' },
      ],
      {},
      refuse,
    ),
    (cause: Error) => {
      assert.match(cause.message, /status 401: bad key \*\*\*/);
      return true;
    },
  );
});

test('the same seed gives the same requests, in any order of rows', async (context) => {
  const rows = ['a', 'b', 'c'].map((id) => ({ id, prompt: `Q ${id}` }));
  const texts = async (records: VprefRecord[]) => {
    const { results } = await sample(context, records, { numSamples: 2, temperature: 1, seed: 9 });
    return Object.fromEntries(results.map(({ records: [record] }) => [record!.id, record!.responses]));
  };
  assert.deepEqual(await texts(rows), await texts([...rows].reverse()));
});

function answer(choice: object, status = 200): Behaviour {
  return {
    status,
    json: { id: 'c', choices: [{ index: 0, ...choice }], usage: { prompt_tokens: 1, completion_tokens: 1 } },
  };
}

test('a missing response fails its row, and is never an empty text with finish_reason stop', async (context) => {
  const said = (content: unknown, finish_reason: unknown, more: object = {}) =>
    answer({ message: { role: 'assistant', content, ...more }, finish_reason });
  const call = { tool_calls: [{ id: '1', type: 'function', function: { name: 'f', arguments: '{}' } }] };
  const cases: [string, Behaviour, string][] = [
    ['null', said(null, 'stop'), 'empty'],
    ['reasoned', said(null, 'stop', { reasoning_content: 'Hm.' }), 'empty'],
    ['reasoned-blank', said('', 'stop', { reasoning: 'Hm.' }), 'empty'],
    ['reasoned-long', said(null, 'length', { reasoning_content: 'Hm.' }), 'truncated'],
    ['tools', said(null, 'tool_calls', call), 'empty'],
    ['tools-beside', said('Let me look.', 'tool_calls', call), 'invalid'],
    ['abort', said('A half', 'abort'), 'transport'],
    ['error', said('A half', 'error'), 'transport'],
    ['unheard', said('A half', 'paused'), 'invalid'],
    ['unsaid', said('Whole.', null), 'Whole. undefined'],
    ['unsaid-null', said(null, null), 'empty'],
    ['empty', said('', 'stop'), ' stop'],
    ['no-choice', { json: { choices: [null] } }, 'empty'],
    ['array', { json: [] }, 'transport'],
    ['blank', said(' A cat.', 'stop'), 'A cat. stop'],
    ['blanks', said('  two', 'stop'), ' two stop'],
  ];
  const { results } = await sample(
    context,
    cases.map(([id]) => ({ id, prompt: `Q ${id}.` })),
    {},
    (seen) => cases.find(([id]) => seen.prompt.includes(`Q ${id}.`))![1],
  );
  for (const [index, [id, , expected]] of cases.entries()) {
    const { records, error } = results[index]!;
    const [made] = records[0]?.responses ?? [];
    assert.equal(error?.code ?? `${made!.text} ${made!.finish_reason}`, expected, id);
  }
});

test('a log-probability that is missing gives no sum, and the responses without one are counted', async (context) => {
  const tokens = (logprobs: unknown[]) =>
    answer({
      message: { content: 'a b' },
      finish_reason: 'stop',
      logprobs: { content: logprobs.map((logprob) => ({ logprob })) },
    });
  const behave = (seen: Seen): Behaviour => {
    if (seen.prompt.includes('null')) return tokens([null, -1]);
    if (seen.prompt.includes('text')) return tokens([-0.5, '-1']);
    if (seen.prompt.includes('nan'))
      return { raw: Buffer.from('{"choices":[{"message":{"content":"a"},"logprobs":{"content":[{"logprob":NaN}]}}]}') };
    return tokens([-9999, -1]);
  };
  const records = ['null', 'text', 'nan', 'fine'].map((id) => ({ id, prompt: id }));
  const { results, warnings } = await sample(context, records, { logprobs: true }, behave);
  const made = results.map((result) => result.records[0]?.responses?.[0] as { endpoint_logps?: number } | undefined);
  assert.deepEqual(
    [made[0]!.endpoint_logps, made[1]!.endpoint_logps, made[3]!.endpoint_logps],
    [undefined, undefined, -10000],
  );
  assert.match(results[2]!.error!.message, /NaN or Infinity/);
  assert.match(warnings.join(), /^2 responses have no endpoint_logps/);
});

test('a refused parameter is omitted from then on, with one note, and is not in the record', async (context) => {
  const refuse = (param: string, message: string): Behaviour => ({ status: 400, json: { error: { message, param } } });
  const behave = (seen: Seen): Behaviour => {
    if ('max_tokens' in seen.body)
      return refuse('max_tokens', "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead.");
    if ('temperature' in seen.body)
      return refuse('temperature', "Unsupported value: 'temperature' does not support 0. Only the default (1) value.");
    return answer({ message: { content: 'yes### no' }, finish_reason: 'stop' });
  };
  const records = ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', 'i', 'j'].map((id) => ({ id, prompt: `Q ${id}` }));
  const { results, server, warnings } = await sample(context, records, { stop: ['###'] }, behave);
  for (const { records: made } of results) {
    assert.equal(made[0]!.responses![0]!.text, 'yes');
    assert.deepEqual(made[0]!.sampling, { model: 'm', top_p: 1, top_k: 0, max_new_tokens: 64, stop: ['###'], seed: 0 });
  }
  assert.equal(warnings.length, 2);
  assert.ok(server.calls.length <= 10 + 2 * 8, String(server.calls.length));
  const known = await sample(context, [{ id: 'k', prompt: 'Q' }], { model: 'gpt-5-mini', stop: ['###'] }, behave);
  assert.deepEqual([known.server.calls.length, 'stop' in known.server.calls[0]!.body], [2, false]);
});

test('a URL without its version part gets a hint', async (context) => {
  await assert.rejects(
    sample(context, [{ id: 'a', prompt: 'Q' }], {}, undefined, (base) => base.replace(/\/v1$/, '')),
    /status 404: .*--endpoint wants the URL with its version part, such as http:\/\/host:8000\/v1/,
  );
  const { results } = await sample(
    context,
    [{ id: 'a', prompt: 'Q' }],
    {},
    undefined,
    (base) => `${base}/chat/completions`,
  );
  assert.equal(results[0]!.error, undefined);
});
