// SPDX-License-Identifier: Apache-2.0
// sample --endpoint, score --drift and eval drift in one pipe, against a server that reads its prompts as it should, or without their pictures.
// Covers src/stages/score-drift.ts
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import type { Response, VprefRecord } from '../../src/records/record.ts';
import { type Fault, startDriftServer, withOnly } from '../support/drift-server.ts';
import { DEMO, openFixture, withoutEngine } from '../support/native.ts';
import { runCli } from '../support/run-cli.ts';

const questions = ['Describe the image.', 'List the objects in the image.', 'Is there a dog in the image?'];
const input = Array.from({ length: 6 }, (_, index) => {
  const images = [`${process.cwd()}/fixtures/demo/data/test/images/scene_000${index}.jpg`];
  return `${JSON.stringify({ id: `q${index}`, images, prompt: questions[index % 3] })}\n`;
}).join('');

async function answered(context: TestContext, fault: Fault = {}): Promise<string> {
  const model = await openFixture(DEMO);
  const server = await startDriftServer(model, fault);
  context.after(async () => {
    await server.close();
    await model.close();
  });
  const endpoint = ['sample', '--endpoint', server.base('openai'), '--model', 'served', '--logps', '-q'];
  const { code, stdout, stderr } = await runCli([...endpoint, '--max-new-tokens', '40'], { input });
  assert.equal(code, 0, stderr);
  return stdout;
}

async function pipe(args: string[], text: string): Promise<{ rows: Record<string, unknown>[]; stderr: string }> {
  const { code, stdout, stderr } = await runCli(args, { input: text });
  assert.equal(code, 0, stderr);
  const rows = stdout.trimEnd().split('\n');
  return { rows: rows.map((line) => JSON.parse(line)), stderr };
}

const joined = (rows: object[]) => rows.map((row) => `${JSON.stringify(row)}\n`).join('');
const score = ['score', '--model', DEMO, '--dtype', 'f32', '-q'];

test('a server that reads as we do agrees, with and without readings', { skip: withoutEngine }, async (context) => {
  const sampled = await answered(context);
  const plain = await pipe(score, sampled);
  const [first] = (plain.rows[0] as unknown as VprefRecord).responses as Required<Response>[];
  assert.deepEqual(first!.tokens, first!.endpoint_tokens);
  assert.equal(first!.per_token_logps.length, first!.num_tokens);
  const sum = first!.per_token_logps.reduce((total, one) => total + one, 0);
  assert.ok(Math.abs(sum - first!.logps) < 1e-4 && Math.abs(first!.endpoint_logps - first!.logps) < 1e-3);
  assert.equal((await pipe(['eval', 'drift'], joined(plain.rows))).rows.at(-1)!.verdict, 'agrees');
  const read = await pipe([...score, '--drift'], sampled);
  const { rows, stderr } = await pipe(['eval', 'drift'], joined(read.rows));
  const { verdict, n, score: distance } = rows.at(-1)!;
  assert.deepEqual([verdict, n], ['agrees', 6]);
  assert.ok((distance as number) < 1e-4);
  assert.match(stderr, /drift: agrees: the server reads the records as vpref does; .* nats per token from vpref's/);
  // What was scored before stays, and is no reading.
  const names = rows.map(({ split }) => split);
  assert.deepEqual(names.slice(-2), ['dtype:bf16', 'all']);
  for (const name of ['no-image', 'doubled-image', 'doubled-bos', 'no-bos', 'template:plain', 'no-generation-prompt'])
    assert.ok(names.includes(name), name);
});

test('a dropped picture is named', { skip: withoutEngine }, async (context) => {
  const sampled = await answered(context, { record: (record) => withOnly(record, []) });
  const read = await pipe([...score, '--drift'], sampled);
  const { rows, stderr } = await pipe(['eval', 'drift'], joined(read.rows));
  assert.equal(rows.at(-1)!.verdict, 'no-image');
  assert.match(stderr, /the server does not see the image/);
  const table = await runCli(['eval', 'drift', '--format', 'table'], { input: joined(read.rows) });
  assert.match(table.stdout, /^drift\n.*split .*verdict/s);
});

test("score --drift of records without a server's numbers is an error of the record", {
  skip: withoutEngine,
}, async () => {
  const { code, stderr } = await runCli([...score, '--drift'], {
    input: '{"id":"a","prompt":"q","responses":[{"text":"x"}]}\n',
  });
  assert.equal(code, 2);
  assert.match(
    stderr,
    /stdin:1: .*endpoint_per_token_logps: expected a server's log-probabilities \(sample --endpoint --logps\), got none/,
  );
});
