// SPDX-License-Identifier: Apache-2.0
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import type { VprefRecord } from '../../src/records/record.ts';
import { type AnnotateSettings, openAnnotate } from '../../src/stages/annotate/open.ts';
import { annotateAll, annotateSettings, asRows, entryOf } from '../support/annotate-stage.ts';
import {
  type Api,
  type Behaviour,
  helpsteerReply,
  type JudgeServer,
  type Seen,
  startJudgeServer,
  textNumber,
} from '../support/judge-server.ts';

const plain = (call: Seen): Behaviour => ({ text: helpsteerReply(call.prompt, (text) => textNumber(text, 5)) });

async function serve(
  context: TestContext,
  behave: (call: Seen) => Behaviour | Promise<Behaviour>,
): Promise<JudgeServer> {
  const server = await startJudgeServer(behave);
  context.after(() => server.close());
  return server;
}

function settings(
  server: JudgeServer,
  api: Api = 'openai',
  more: Partial<AnnotateSettings> & { timeoutMs?: number } = {},
) {
  return annotateSettings(`${api}:judge`, { baseUrl: server.base(api), ...more });
}

function record(id: string, texts = ['one', 'two', 'three', 'four']): VprefRecord {
  return { id, prompt: `Question of ${id}?`, responses: texts.map((text) => ({ text })) };
}

test('an entry has everything needed to check it later', async (context) => {
  const server = await serve(context, plain);
  const { results, summary } = await annotateAll([record('a')], settings(server));
  const { prompt_sha256, text, order, ...entry } = entryOf(results[0]!);
  assert.match(prompt_sha256!, /^[0-9a-f]{64}$/);
  assert.equal(Object.keys(JSON.parse(text!).ratings).join(''), 'ABCD');
  assert.deepEqual([...order!].sort(), [0, 1, 2, 3]);
  const grade = (text: string) => ({
    helpfulness: textNumber(text, 5),
    correctness: textNumber(text, 5),
    coherence: textNumber(text, 5),
    complexity: 1,
    verbosity: 2,
  });
  assert.deepEqual(entry, {
    guide: 'helpsteer',
    guide_version: '1',
    judge: 'openai:judge',
    run: 1,
    outcome: 'ok',
    scores: ['one', 'two', 'three', 'four'].map(grade),
    own_response: 'my own answer',
    judge_model: 'gpt-test-2025',
    finish_reason: 'stop',
    request_id: 'chatcmpl-1',
    usage: { input_tokens: 100, output_tokens: 20 },
  });
  assert.match(summary, /^1 ok; 1 question, 0 from the cache, 1 request; 100 input and 20 output tokens/);
});

test('existing entries stay; each run asks separately and adds its own', async (context) => {
  const server = await serve(context, plain);
  const before = { guide: 'old', judge: 'j', run: 1, outcome: 'ok' as const };
  const { results } = await annotateAll(
    [{ ...record('a'), annotations: [before] }],
    settings(server, 'openai', { runs: 3 }),
  );
  const entries = results[0]!.records[0]!.annotations!;
  assert.deepEqual(
    entries.map((entry) => [entry.guide, entry.run]),
    [
      ['old', 1],
      ['helpsteer', 1],
      ['helpsteer', 2],
      ['helpsteer', 3],
    ],
  );
  assert.equal(server.calls.length, 3);
  assert.deepEqual(entries[1]!.scores, entries[3]!.scores);
});

test('a row with one failed run of several is passed on, with a warning', async (context) => {
  let calls = 0;
  const server = await serve(context, (call) => (++calls === 2 ? { status: 400, json: {} } : plain(call)));
  const { results } = await annotateAll([record('a')], settings(server, 'openai', { runs: 3 }));
  assert.equal(results[0]!.error?.partial, true);
  assert.deepEqual(results[0]!.records[0]!.annotations!.map((entry) => entry.outcome).sort(), ['invalid', 'ok', 'ok']);
});

test('only ok has scores: one failed call of a run of many leaves the others to `calls`', async (context) => {
  const server = await serve(context, (call) => ({
    text: /Assistant's Answer\]\nbad/.test(call.prompt) ? 'no rating' : 'Rating: [[7]]',
  }));
  const { results } = await annotateAll(
    [record('a', ['good', 'bad'])],
    settings(server, 'gemini', { guide: 'mt-bench' }),
  );
  const entry = entryOf(results[0]!);
  assert.equal(entry.outcome, 'unparsable');
  assert.equal(entry.scores, undefined);
  const calls = entry.calls as { response: number; turn: number; outcome: string; scores?: object }[];
  assert.deepEqual(
    calls.map((call) => [call.response, call.turn, call.outcome, call.scores]),
    [
      [0, 1, 'ok', { rating: 7 }],
      [1, 1, 'unparsable', undefined],
    ],
  );
});

test('a repair shows the judge its reply and the problem, and both replies are stored', async (context) => {
  const server = await serve(context, (call) =>
    call.prompt.includes('cannot be read') ? plain(call) : { text: 'A is fine.' },
  );
  const { results } = await annotateAll([record('a')], settings(server, 'anthropic'));
  const entry = entryOf(results[0]!);
  assert.equal(entry.outcome, 'ok');
  assert.equal(entry.unrepaired_text, 'A is fine.');
  assert.deepEqual(entry.usage, { input_tokens: 200, output_tokens: 40 });
  const turns = server.calls[1]!.body.messages as { role: string; content: { text: string }[] }[];
  assert.deepEqual(
    turns.map((turn) => turn.role),
    ['user', 'assistant', 'user'],
  );
  assert.equal(turns[1]!.content[0]!.text, 'A is fine.');
  assert.match(turns[2]!.content[0]!.text, /cannot be read: expected one JSON object/);
});

test('rows with the same question share one call', async (context) => {
  const server = await serve(context, plain);
  const rows = Array.from({ length: 20 }, () => record('same'));
  const { results } = await annotateAll(rows, settings(server));
  assert.equal(server.calls.length, 1);
  assert.deepEqual(new Set(results.map((result) => JSON.stringify(result.records))).size, 1);
});

test('a drawn order removes a position bias that a fixed order has', async (context) => {
  // The judge adds a point to whatever stands first. All answers are equally good.
  const biased = (call: Seen) => ({ text: helpsteerReply(call.prompt, (_, place) => (place === 0 ? 3 : 2)) });
  const server = await serve(context, biased);
  const rows = Array.from({ length: 400 }, (_, index) => record(`r${index}`));
  const meanByIndex = async (shuffle: boolean) => {
    const { results } = await annotateAll(rows, settings(server, 'openai', { shuffle }));
    const scores = results.map((result) => entryOf(result).scores!.map((score) => score!.helpfulness!));
    return [0, 1, 2, 3].map((index) => scores.reduce((sum, row) => sum + row[index]!, 0) / rows.length);
  };
  assert.deepEqual(await meanByIndex(false), [3, 2, 2, 2]);
  const shuffled = await meanByIndex(true);
  // Each stands first in a quarter of the rows: 2.25, standard deviation 0.022.
  for (const mean of shuffled) assert.ok(Math.abs(mean - 2.25) < 0.08, shuffled.join());
});

test('images go with the question, and another image is another question to the cache', async (context) => {
  const folder = mkdtempSync(join(tmpdir(), 'vpref-images-'));
  context.after(() => rmSync(folder, { recursive: true }));
  const server = await serve(context, plain);
  const { default: sharp } = await import('sharp');
  const file = async (name: string, red: number) => {
    const path = join(folder, name);
    await sharp({ create: { width: 40, height: 30, channels: 3, background: { r: red, g: 0, b: 0 } } }).toFile(path);
    return path;
  };
  const png = await file('a.png', 10);
  const tiff = await file('b.tiff', 10);
  const row = (id: string, images: string[]) => ({ ...record('x'), id, images });
  const dataUri = `data:image/png;base64,${(await sharp(png).png().toBuffer()).toString('base64')}`;
  const options = settings(server, 'gemini', { cache: join(folder, 'cache'), shuffle: false });
  await annotateAll([row('1', [png])], options);
  const parts = (call: Seen) =>
    (call.body.contents as { parts: { inlineData?: { mimeType: string; data: string } }[] }[])[0]!.parts;
  assert.equal(parts(server.calls[0]!)[0]!.inlineData!.mimeType, 'image/png');
  await annotateAll([row('1', [png])], options);
  assert.equal(server.calls.length, 1, 'the same bytes come from the cache');
  await file('a.png', 20);
  await annotateAll([row('1', [png])], options);
  assert.equal(server.calls.length, 2, 'the file has other bytes now');
  // Row 3 has, as a data: URI, the bytes that the file of row 1 had at first: another call that is not needed.
  await annotateAll([row('2', [tiff]), row('3', [dataUri]), row('4', [png, dataUri])], options);
  assert.deepEqual(
    server.calls
      .slice(2)
      .map((call) => parts(call).filter((part) => part.inlineData).length)
      .sort(),
    [1, 2],
  );
  assert.ok(
    server.calls.every((call) => parts(call)[0]!.inlineData!.mimeType === 'image/png'),
    'TIFF is sent as PNG',
  );
});

test('a missing or invalid image fails only its row', async (context) => {
  const folder = mkdtempSync(join(tmpdir(), 'vpref-images-'));
  context.after(() => rmSync(folder, { recursive: true }));
  const broken = join(folder, 'broken.png');
  writeFileSync(broken, 'not an image');
  const server = await serve(context, plain);
  const rows = [
    { ...record('a'), images: [join(folder, 'none.png')] },
    { ...record('b'), images: [broken] },
    record('c'),
  ];
  const { results } = await annotateAll(rows, settings(server));
  assert.deepEqual(
    results.map((result) => result.error?.code),
    ['bad-record', 'bad-record', undefined],
  );
  assert.match(
    results[0]!.error!.message,
    /^test\.ndjson:1: images\[0\]: expected an image file, got .*none\.png: no such file$/,
  );
  assert.match(
    results[1]!.error!.message,
    /^test\.ndjson:2: images\[0\]: expected a JPEG, PNG, .* image, got .*broken\.png: a file that begins with "not an im"$/,
  );
});

test('a text guide sends no image', async (context) => {
  const server = await serve(context, () => ({ text: '0.5' }));
  const row = { ...record('a', ['x']), images: ['/no/such/file.png'], reference: 'y' };
  const { results } = await annotateAll([row], settings(server, 'gemini', { guide: 'mm-vet' }));
  assert.deepEqual(entryOf(results[0]!).scores, [{ grade: 0.5 }]);
});

test('a fatal failure yields the finished rows, in order and without a gap', async (context) => {
  const server = await serve(context, (call) =>
    call.prompt.includes('of r30?') ? { status: 401, json: { error: { message: 'who are you' } } } : plain(call),
  );
  const rows = Array.from({ length: 200 }, (_, index) => record(`r${index}`));
  const { stage } = await openAnnotate(settings(server));
  const ids: string[] = [];
  await assert.rejects(async () => {
    for await (const result of stage(asRows(rows))) ids.push(result.row.record.id);
  }, /openai:judge: auth: status 401: who are you/);
  assert.deepEqual(
    ids,
    rows.slice(0, ids.length).map((row) => row.id),
  );
  assert.ok(ids.length <= 30);
  assert.ok(server.calls.length < 70, `${server.calls.length} calls`);
});

test('results are yielded at once, while the input still waits', async (context) => {
  const server = await serve(context, plain);
  const { stage } = await openAnnotate(settings(server));
  let goOn = () => {};
  async function* slow() {
    yield* asRows([record('first')]);
    await new Promise<void>((resolve) => {
      goOn = resolve;
    });
    yield* asRows([record('second')]);
  }
  const results = stage(slow())[Symbol.asyncIterator]();
  assert.equal((await results.next()).value.row.record.id, 'first');
  goOn();
  assert.equal((await results.next()).value.row.record.id, 'second');
  assert.equal((await results.next()).done, true);
});

test('a consumer that stops early aborts the running calls', async (context) => {
  const server = await serve(context, async (call) => {
    if (!call.prompt.includes('of r0?')) await new Promise((resolve) => setTimeout(resolve, 30_000).unref());
    return plain(call);
  });
  const { stage } = await openAnnotate(settings(server));
  for await (const _ of stage(asRows(Array.from({ length: 50 }, (_, index) => record(`r${index}`))))) break;
});

test('a wall clock that jumps changes no wait', async (context) => {
  const date = 'Sat, 21 Nov 2026 10:00:00 GMT';
  const server = await serve(context, (call) =>
    call.attempt === 1
      ? { status: 429, headers: { date, 'retry-after': 'Sat, 21 Nov 2026 10:00:01 GMT' }, json: {} }
      : plain(call),
  );
  const { now } = Date;
  let jump = 0;
  Date.now = () => {
    jump = -jump + (jump > 0 ? 0 : 1e12);
    return now() + jump;
  };
  context.after(() => {
    Date.now = now;
  });
  const rows = Array.from({ length: 40 }, (_, index) => record(`r${index}`));
  const { results } = await annotateAll(rows, settings(server));
  assert.ok(results.every((result) => result.error === undefined));
});

test('there are never more concurrent calls than --concurrency', async (context) => {
  const server = await serve(context, async (call) => {
    await new Promise((resolve) => setTimeout(resolve, 2));
    return plain(call);
  });
  const rows = Array.from({ length: 100 }, (_, index) => record(`r${index}`));
  await annotateAll(rows, settings(server));
  assert.ok(server.most.running <= 16 && server.most.running > 4, String(server.most.running));
});
