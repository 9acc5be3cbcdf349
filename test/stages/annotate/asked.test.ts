// SPDX-License-Identifier: Apache-2.0
// What a judge is sent by its family, what is learned from its refusals, and what a run may cost whatever it says.
// Covers src/stages/annotate/open.ts
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import type { AnnotateSettings } from '../../../src/stages/annotate/open.ts';
import { annotateAll, annotateSettings, entryOf } from '../../support/annotate-stage.ts';
import {
  type Api,
  answerBody,
  type Behaviour,
  helpsteerReply,
  type Seen,
  startJudgeServer,
} from '../../support/judge-server.ts';

const records = Array.from({ length: 12 }, (_, row) => ({
  id: `r${row}`,
  prompt: `Question ${row}?`,
  context: ['a cup'],
  responses: [{ text: 'A cup. It is red.' }],
}));
const good = (call: Seen): Behaviour => ({ text: helpsteerReply(call.prompt, () => 3) });

async function run(
  context: TestContext,
  judge: `${Api}:${string}`,
  behave: (call: Seen) => Behaviour = good,
  more: Partial<AnnotateSettings> = {},
) {
  const server = await startJudgeServer(behave);
  context.after(() => server.close());
  const settings = annotateSettings(judge, { baseUrl: server.base(judge.split(':')[0] as Api), ...more });
  const warnings: string[] = [];
  settings.judgeOptions.warn = (message) => warnings.push(message);
  return { ...(await annotateAll(records, settings)), server, warnings, body: () => server.calls[0]!.body };
}

const shr = { guide: 'shr' };
const judgement: Behaviour = { text: 'Judgement:\n1. Correct: a\n2. Hallucination: b\n### and more\n3. Correct: c' };

test('a guide with all the settings there are, by family', async (context) => {
  const opus = await run(context, 'anthropic:claude-opus-4-1', () => judgement, shr);
  assert.deepEqual([opus.body().temperature, opus.body().top_p, opus.body().stop_sequences], [0.7, undefined, ['###']]);
  const newest = await run(context, 'anthropic:claude-opus-4-7', () => judgement, shr);
  assert.deepEqual([newest.body().temperature, newest.body().top_p], [undefined, undefined]);
  assert.match(newest.warnings.join('\n'), /^temperature of guide shr not sent to anthropic:claude-opus-4-7:/);
  const older = await run(context, 'anthropic:claude-3-haiku', () => judgement, shr);
  assert.deepEqual([older.body().temperature, older.body().top_p, older.warnings], [0.7, 1, []]);
  const gemini = await run(context, 'gemini:gemini-3-pro-preview', good);
  const config = gemini.body().generationConfig as Record<string, unknown>;
  assert.deepEqual([config.temperature, typeof config.seed], [undefined, 'number']);
  const own = await run(context, 'gemini:gemini-3-pro-preview', good, { overrides: { temperature: 0.2 } });
  assert.equal((own.body().generationConfig as Record<string, unknown>).temperature, 0.2);
});

test('a reply is cut at a stop text that the model does not accept', async (context) => {
  const { results, body } = await run(context, 'openai:o3', () => judgement, shr);
  assert.equal('stop' in body(), false);
  const entry = entryOf(results[0]!);
  assert.deepEqual(entry.scores, [{ hallucinated: 1, sentences: 2 }]);
  assert.ok(!entry.text!.includes('###'));
});

test("the user's top-p goes before the guide's temperature; both by hand are refused", async (context) => {
  const overrides = { topP: 0.5 };
  const { body } = await run(context, 'anthropic:claude-sonnet-4-5', good, { overrides });
  assert.deepEqual([body().temperature, body().top_p], [undefined, 0.5]);
  await assert.rejects(
    run(context, 'anthropic:claude-sonnet-4-5', good, { overrides: { topP: 0.5, temperature: 0 } }),
    /--top-p: expected no --temperature with it, anthropic:claude-sonnet-4-5 accepts only one of them/,
  );
});

test('after a 400 that names a parameter, it is omitted, without counting an attempt', async (context) => {
  const behave = (call: Seen): Behaviour =>
    'temperature' in call.body
      ? { status: 400, json: { error: { message: '`temperature` is deprecated for this model.' } } }
      : good(call);
  const { results, server, warnings } = await run(context, 'openai:mine', behave, { maxAttempts: 1 });
  assert.ok(results.every((result) => entryOf(result).outcome === 'ok'));
  assert.equal(warnings.length, 1);
  assert.match(warnings[0]!, /^openai:mine: the server refuses temperature; from now on it is left out: status 400/);
  const refused = server.calls.filter((call) => 'temperature' in call.body).length;
  assert.equal(server.calls.length, records.length + refused);
});

test('the maximum cost holds for any usage that the server reports', async (context) => {
  const prices = { input: 10, output: 10 };
  const usages = [
    undefined,
    null,
    { prompt_tokens: -1e9, completion_tokens: -1e9 },
    { prompt_tokens: '5', completion_tokens: '5' },
    { prompt_tokens: 0, completion_tokens: 0 },
    { prompt_tokens: 10 },
  ];
  for (const usage of usages) {
    const behave = (call: Seen): Behaviour => ({
      json: {
        ...answerBody(
          'openai',
          helpsteerReply(call.prompt, () => 3),
        ),
        usage,
      },
    });
    const server = await startJudgeServer(behave);
    context.after(() => server.close());
    // gpt-4: 30 and 60 USD a million; a call of about 500 and at most 4096 tokens may cost 0.26 USD.
    const settings = annotateSettings('openai:gpt-4', { baseUrl: server.base('openai'), maxCost: 1 });
    await assert.rejects(annotateAll(records, settings), /max-cost 1: .* USD spent/, JSON.stringify(usage));
    assert.equal(server.calls.length, 3, `${JSON.stringify(usage)} at ${prices.input}`);
  }
});

test('attempts that broke off count too: retries do not pass the maximum', async (context) => {
  const server = await startJudgeServer(() => ({ fault: 'reset-in-body' }));
  context.after(() => server.close());
  const settings = annotateSettings('openai:gpt-4', { baseUrl: server.base('openai'), maxCost: 1, maxAttempts: 6 });
  await assert.rejects(annotateAll(records, settings), /max-cost 1/);
  assert.equal(server.calls.length, 3);
});

test('a login in the URL is sent, and appears in no output', async (context) => {
  const server = await startJudgeServer((call) => ({
    status: 400,
    json: { error: { message: `bad ${call.headers.authorization} or my:long/pass-word or long/pass-word` } },
  }));
  context.after(() => server.close());
  const baseUrl = server.base('openai').replace('http://', 'http://my:long%2Fpass-word@');
  const settings = annotateSettings('openai:m', { baseUrl });
  settings.judgeOptions.environment = {};
  const { results } = await annotateAll(records.slice(0, 1), settings);
  assert.equal(server.calls[0]!.headers.authorization, `Basic ${Buffer.from('my:long/pass-word').toString('base64')}`);
  assert.ok(!/pass-word/.test(JSON.stringify(results)) && /bad Basic \*\*\*/.test(JSON.stringify(results)));
  settings.judgeOptions.environment = { OPENAI_API_KEY: 'sk-key' };
  await assert.rejects(
    annotateAll(records.slice(0, 1), settings),
    /--base-url: expected no login in the URL with a key/,
  );
});
