// SPDX-License-Identifier: Apache-2.0
// Batch modes against servers that keep files and jobs as the providers document them.
import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import type { VprefRecord } from '../../../src/records/record.ts';
import { openAnnotate, submitAnnotate } from '../../../src/stages/annotate/open.ts';
import { annotateSettings, asRows, entryOf, runRecords } from '../../support/annotate-stage.ts';
import { answerBody, closeServer, helpsteerReply, listen, textNumber } from '../../support/judge-server.ts';

interface Job {
  file: string;
  state: 'running' | 'done' | 'expired';
}

/** Files and jobs; what the judge says to a line is a function of the line. */
class BatchServer {
  readonly files = new Map<string, string>();
  readonly jobs = new Map<string, Job>();
  readonly log: string[] = [];
  url = '';

  async handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk);
    const body = Buffer.concat(chunks).toString('utf8');
    const path = request.url ?? '';
    this.log.push(`${request.method} ${path}`);
    const json = (value: unknown, headers = {}) =>
      response.writeHead(200, { 'content-type': 'application/json', ...headers }).end(JSON.stringify(value));
    const id = () => String(this.files.size + this.jobs.size);
    const last = path.split('?')[0]!.split('/').at(-1)!;

    if (path === '/v1/files') {
      assert.match(request.headers['content-type']!, /^multipart\/form-data; boundary=/);
      assert.match(body, /name="purpose"\r\n\r\nbatch\r\n/);
      const file = `file-${id()}`;
      this.files.set(file, /application\/jsonl\r\n\r\n([\s\S]*)\r\n--/.exec(body)![1]!);
      return void json({ id: file });
    }
    if (path === '/v1/batches') {
      const { input_file_id, endpoint, completion_window } = JSON.parse(body);
      assert.deepEqual([endpoint, completion_window], ['/v1/chat/completions', '24h']);
      return void json(this.#newJob(`batch_${id()}`, input_file_id));
    }
    if (path.startsWith('/v1/batches/')) {
      const { file, state } = this.jobs.get(last)!;
      if (state === 'running') return void json({ id: last, status: 'in_progress' });
      this.files.set(`out-${file}`, openaiResults(this.files.get(file)!, state));
      return void json({
        id: last,
        status: state === 'done' ? 'completed' : 'expired',
        output_file_id: `out-${file}`,
        error_file_id: null,
      });
    }
    if (path.startsWith('/v1/files/')) return void response.end(this.files.get(path.split('/')[3]!));

    if (path === '/upload/v1beta/files') {
      assert.equal(request.headers['x-goog-upload-command'], 'start');
      return void json({}, { 'x-goog-upload-url': `${this.url}/upload-session/${id()}` });
    }
    if (path.startsWith('/upload-session/')) {
      assert.equal(request.headers['x-goog-upload-command'], 'upload, finalize');
      this.files.set(`files/f${last}`, body);
      return void json({ file: { name: `files/f${last}`, uri: 'u' } });
    }
    if (path.endsWith(':batchGenerateContent'))
      return void json(this.#newJob(`batches/b${id()}`, JSON.parse(body).batch.input_config.file_name));
    if (path.startsWith('/v1beta/batches/')) {
      const { file, state } = this.jobs.get(`batches/${last}`)!;
      if (state === 'running') return void json({ name: last, metadata: { state: 'BATCH_STATE_RUNNING' } });
      this.files.set(`files/out-${file.slice(6)}`, geminiResults(this.files.get(file)!));
      return void json({
        name: last,
        done: true,
        metadata: { state: 'BATCH_STATE_SUCCEEDED' },
        response: { responsesFile: `files/out-${file.slice(6)}` },
      });
    }
    const download = /^\/download\/v1beta\/(files\/[^:]+):download\?alt=media$/.exec(path);
    if (download) return void response.end(this.files.get(download[1]!));
    response.writeHead(404).end('{"error":{"message":"no such path"}}');
  }

  #newJob(name: string, file: string) {
    this.jobs.set(name, { file, state: 'running' });
    return { id: name, name, status: 'validating', metadata: { state: 'BATCH_STATE_PENDING' } };
  }

  finish(state: Job['state']): void {
    for (const job of this.jobs.values()) job.state = state;
  }
}

const answerTo = (prompt: string) => helpsteerReply(prompt, (text) => textNumber(text, 5));
const lines = (text: string) =>
  text
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));

/** In reverse order, one line twice, one failed; an expired batch lacks half of them. */
function openaiResults(requests: string, state: Job['state']): string {
  const results = lines(requests).map(({ custom_id, body }, index) => {
    if (index === 1)
      return { id: 'r', custom_id, response: { status_code: 400, body: { error: { message: 'bad' } } }, error: null };
    const response = {
      status_code: 200,
      request_id: 'q',
      body: answerBody('openai', answerTo(body.messages.at(-1).content)),
    };
    return { id: 'r', custom_id, response, error: null };
  });
  const kept = state === 'expired' ? results.slice(0, Math.ceil(results.length / 2)) : results;
  return [...kept]
    .reverse()
    .concat(kept[0]!)
    .map((line) => JSON.stringify(line))
    .join('\n');
}

function geminiResults(requests: string): string {
  const results = lines(requests).map(({ key, request }, index) => {
    if (index === 1) return { key, error: { code: 3, message: 'bad argument' } };
    if (index === 2) return { key, response: { promptFeedback: { blockReason: 'SAFETY' } } };
    return { key, response: answerBody('gemini', answerTo(request.contents[0].parts.at(-1).text)) };
  });
  return results.map((line) => JSON.stringify(line)).join('\n');
}

const records = Array.from({ length: 8 }, (_, row): VprefRecord => {
  // Rows 0 and 7 are the same question.
  const id = `r${row % 7}`;
  return { id, prompt: `Question ${id}?`, responses: [{ text: `a ${id}` }, { text: `b ${id}` }] };
});

async function setUp(context: TestContext, judge: string, base: string) {
  const server = new BatchServer();
  const http = createServer((request, response) => {
    server.handle(request, response).catch((cause) => response.writeHead(500).end(String(cause)));
  });
  await listen(http);
  server.url = `http://127.0.0.1:${(http.address() as AddressInfo).port}`;
  const folder = mkdtempSync(join(tmpdir(), 'vpref-batch-'));
  context.after(async () => {
    await closeServer(http);
    rmSync(folder, { recursive: true });
  });
  const batchFolder = join(folder, 'batch');
  const settings = annotateSettings(judge, { baseUrl: server.url + base, batchFolder, cache: join(folder, 'cache') });
  const submit = async (rows = records) => {
    const made: { file: string; requests: number; batch: string | null }[] = [];
    for await (const row of submitAnnotate(asRows(rows), settings)) made.push(row as (typeof made)[0]);
    return made;
  };
  const collect = async () => runRecords((await openAnnotate(settings)).stage, records);
  return { server, settings, submit, collect, batchFolder };
}

test('openai: files in the official format, collected by id, never submitted twice', async (context) => {
  const { server, submit, collect, batchFolder, settings } = await setUp(context, 'openai:gpt-4o-mini', '/v1');
  const made = await submit();
  assert.deepEqual(
    made.map((row) => [row.requests, row.batch]),
    [[7, 'batch_1']],
  );
  const [request] = lines(readFileSync(made[0]!.file, 'utf8'));
  assert.deepEqual(Object.keys(request), ['custom_id', 'method', 'url', 'body']);
  assert.deepEqual([request.method, request.url, request.body.model], ['POST', '/v1/chat/completions', 'gpt-4o-mini']);
  assert.ok(request.custom_id.length <= 64);

  await submit();
  assert.equal(server.log.filter((line) => line === 'POST /v1/batches').length, 1);
  await assert.rejects(collect(), /1 of 1 batch not finished: batch_1 \(in_progress\)/);

  server.finish('done');
  const results = await collect();
  assert.deepEqual(
    results.map((result) => entryOf(result).outcome),
    ['ok', 'invalid', 'ok', 'ok', 'ok', 'ok', 'ok', 'ok'],
  );
  for (const [row, result] of results.entries()) {
    const expected = records[row]!.responses!.map(({ text }) => textNumber(text, 5));
    const { scores } = entryOf(result);
    if (scores)
      assert.deepEqual(
        scores.map((score) => score!.helpfulness),
        expected,
      );
  }
  const asked = server.log.length;
  assert.deepEqual(await collect(), results, 'collected files are not fetched again');
  assert.equal(server.log.length, asked);
  assert.deepEqual(readdirSync(batchFolder).sort(), ['batch.json', 'requests-000.jsonl', 'results-000-0.jsonl']);

  const other = { ...settings, guide: 'consistency' };
  await assert.rejects(
    openAnnotate(other),
    /expected a batch of .* with guide consistency, got one of openai:gpt-4o-mini with guide helpsteer/,
  );
});

test('openai: an expired batch gives its results; the other questions fail', async (context) => {
  const { server, submit, collect } = await setUp(context, 'openai:gpt-4o-mini', '/v1');
  await submit();
  server.finish('expired');
  const outcomes = (await collect()).map((result) => entryOf(result).outcome);
  assert.deepEqual(outcomes, ['ok', 'invalid', 'ok', 'ok', 'transport', 'transport', 'transport', 'ok']);
});

test('gemini: resumable upload, operation, responses file', async (context) => {
  const { server, submit, collect } = await setUp(context, 'gemini:gemini-2.5-flash', '/v1beta');
  const made = await submit();
  assert.equal(made[0]!.batch, 'batches/b1');
  const [line] = lines(readFileSync(made[0]!.file, 'utf8'));
  assert.deepEqual(
    [Object.keys(line), Object.keys(line.request)],
    [
      ['key', 'request'],
      ['contents', 'systemInstruction', 'generationConfig'],
    ],
  );
  await assert.rejects(collect(), /not finished: batches\/b1 \(RUNNING\)/);
  server.finish('done');
  const results = await collect();
  assert.deepEqual(
    results.map((result) => entryOf(result).outcome),
    ['ok', 'invalid', 'refused', 'ok', 'ok', 'ok', 'ok', 'ok'],
  );
  assert.equal(entryOf(results[0]!).judge_model, 'gemini-test-001');
});

test('an interrupted submission is not repeated blindly', async (context) => {
  const { submit, batchFolder } = await setUp(context, 'openai:gpt-4o-mini', '/v1');
  await submit();
  const file = join(batchFolder, 'batch.json');
  const manifest = JSON.parse(readFileSync(file, 'utf8'));
  delete manifest.files[0].batch;
  manifest.files[0].isSubmitting = true;
  writeFileSync(file, JSON.stringify(manifest));
  await assert.rejects(submit(), /stopped while it submitted this file/);
});

test('a submission that surely did not arrive is repeated', async (context) => {
  const { server, settings, submit, batchFolder } = await setUp(context, 'openai:gpt-4o-mini', '/v1');
  const nowhere = { ...settings, judgeOptions: { ...settings.judgeOptions, baseUrl: 'http://127.0.0.1:9/v1' } };
  await assert.rejects(async () => {
    for await (const _ of submitAnnotate(asRows(records), nowhere));
  }, /POST \/v1\/files: connect ECONNREFUSED/);
  assert.deepEqual(readdirSync(batchFolder).sort(), ['batch.json', 'requests-000.jsonl']);
  assert.equal((await submit())[0]!.batch, 'batch_1');
  assert.equal(server.jobs.size, 1);
});

test('cached questions are not submitted', async (context) => {
  const { server, submit, collect, batchFolder } = await setUp(context, 'openai:gpt-4o-mini', '/v1');
  await submit(records.slice(0, 3));
  server.finish('done');
  await collect();
  rmSync(batchFolder, { recursive: true });
  assert.deepEqual(
    (await submit()).map((row) => row.requests),
    [5],
    'one of the first three failed',
  );
});

test('a row with an image that cannot be sent fails with its line; the others are submitted', async (context) => {
  const { settings, batchFolder } = await setUp(context, 'openai:gpt-4o-mini', '/v1');
  const page = join(batchFolder, '../page.jpg');
  writeFileSync(page, '<html>gone</html>');
  const rows = records
    .slice(0, 3)
    .map((row, index) => ({ ...row, images: [index === 1 ? page : 'fixtures/images/tiny.png'] }));
  const warned: string[] = [];
  const made: object[] = [];
  const judgeOptions = { ...settings.judgeOptions, warn: (message: string) => void warned.push(message) };
  const told = { ...settings, judgeOptions };
  for await (const row of submitAnnotate(asRows(rows), told)) made.push(row);
  assert.deepEqual(
    made.map((row) => (row as { requests: number }).requests),
    [2],
  );
  assert.equal(warned.length, 1);
  assert.match(warned[0]!, /:2: images\[0\]: expected a JPEG, .* got .*page\.jpg: an HTML page/);
});
