// SPDX-License-Identifier: Apache-2.0
// annotate against a local server in another process: calls per second, client cost per call, memory over many rows with images,
// and the share of a planted position bias that the random order removes.
//   node --expose-gc --import tsx bench/annotate.ts [--calls 5000] [--rows 100000] [--concurrency 64] [--out bench/results/annotate.ndjson]
import { fork } from 'node:child_process';
import { appendFileSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { cpus, tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { randomStream } from '../src/records/random.ts';
import type { VprefRecord } from '../src/records/record.ts';
import { type AnnotateSettings, openAnnotate } from '../src/stages/annotate/open.ts';
import { answerBody, helpsteerReply, shownAnswers } from '../test/support/judge-server.ts';

const { values: flags } = parseArgs({
  options: {
    calls: { type: 'string', default: '5000' },
    rows: { type: 'string', default: '100000' },
    concurrency: { type: 'string', default: '64' },
    out: { type: 'string' },
    serve: { type: 'string' },
  },
});

const NUM_IMAGES = 200;
const IMAGE_BYTES = 60_000;

/** One fixed reply for all questions, so the server costs as little as possible. */
function serveAtOnce(): void {
  const ratings = ['A', 'B', 'C', 'D'].map((label) => [
    label,
    { comment: 'fine', helpfulness: 3, correctness: 3, coherence: 4, complexity: 1, verbosity: 2 },
  ]);
  const text = JSON.stringify({ own_response: 'A cat on a sofa.', ratings: Object.fromEntries(ratings) });
  const body = Buffer.from(JSON.stringify(answerBody('openai', text)));
  serve((_, reply) => reply(body));
}

/** A judge that finds the best response nine times in ten, and adds a point to the first shown. */
function serveBiased(): void {
  serve((request, reply) => {
    const prompt: string = JSON.parse(request.toString('utf8')).messages.at(-1).content;
    const seen = randomStream(
      1,
      shownAnswers(prompt)
        .map((answer) => answer.text)
        .sort()
        .join('\n'),
    );
    const sees = seen.nextFloat() < 0.9;
    const text = helpsteerReply(prompt, (answer, place) =>
      Math.min(4, (sees && answer.includes('best') ? 3 : 2) + (place === 0 ? 1 : 0)),
    );
    reply(Buffer.from(JSON.stringify(answerBody('openai', text))));
  });
}

function serve(answer: (request: Buffer, reply: (body: Buffer) => void) => void): void {
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () =>
      answer(Buffer.concat(chunks), (body) => {
        response.writeHead(200, { 'content-type': 'application/json', 'content-length': body.length });
        response.end(body);
      }),
    );
  });
  server.listen(0, '127.0.0.1', () => process.send!((server.address() as AddressInfo).port));
  process.on('disconnect', () => process.exit());
}

async function startServer(kind: 'at-once' | 'biased'): Promise<{ baseUrl: string; stop(): void }> {
  const child = fork(fileURLToPath(import.meta.url), ['--serve', kind]);
  const port = await new Promise<number>((resolve) => child.once('message', (message) => resolve(message as number)));
  return { baseUrl: `http://127.0.0.1:${port}/v1`, stop: () => child.disconnect() };
}

function settings(baseUrl: string, more: Partial<AnnotateSettings> = {}): AnnotateSettings {
  return {
    judge: 'openai:judge',
    judgeOptions: {
      ...{ baseUrl, timeoutMs: 60_000, concurrency: Number(flags.concurrency), environment: {}, warn: console.error },
      openModel: () => Promise.reject(new Error('no engine here')),
    },
    ...{ guide: 'helpsteer', runs: 1, seed: 0, shuffle: true, overrides: {}, maxAttempts: 1, maxDelayMs: 1000 },
    cache: null,
    ...more,
  };
}

async function* rows(count: number, images: string[]) {
  for (let index = 0; index < count; index += 1) {
    const responses = [0, 1, 2, 3].map((answer) => ({
      text: `Answer ${answer} to question ${index}: a cat that sits on a sofa.`,
    }));
    const image = images.length > 0 ? { images: [images[index % images.length]!] } : {};
    const record: VprefRecord = {
      id: `r${index}`,
      prompt: `<image>\nQuestion ${index}: what is shown?`,
      responses,
      ...image,
    };
    yield { record, source: 'bench', line: index + 1 };
  }
}

/** Bytes with the header of a 640x480 JPEG. */
function writeImages(folder: string): string[] {
  const header = Buffer.from('ffd8ffc0001108 01e0 0280 03'.replaceAll(' ', ''), 'hex');
  const random = randomStream(1, 'bench-images');
  return Array.from({ length: NUM_IMAGES }, (_, index) => {
    const bytes = Buffer.alloc(IMAGE_BYTES);
    for (let at = 0; at < IMAGE_BYTES; at += 4) bytes.writeUInt32LE(random.nextUint32(), at);
    header.copy(bytes);
    const file = join(folder, `${index}.jpg`);
    writeFileSync(file, bytes);
    return file;
  });
}

/** Runs the rows through; calls `each` after every row. */
async function run(count: number, images: string[], options: AnnotateSettings, each: (row: number) => void = () => {}) {
  const { stage } = await openAnnotate(options);
  let done = 0;
  for await (const { error } of stage(rows(count, images))) {
    if (error) throw new Error(error.message);
    done += 1;
    each(done);
  }
}

async function measureCalls(name: string, images: string[], baseUrl: string, cache: string | null) {
  const calls = Number(flags.calls);
  await run(500, images, settings(baseUrl));
  const cpu = process.cpuUsage();
  const start = performance.now();
  await run(calls, images, settings(baseUrl, { cache }));
  const wallMs = performance.now() - start;
  const used = process.cpuUsage(cpu);
  return {
    bench: 'annotate/calls',
    name,
    concurrency: Number(flags.concurrency),
    calls,
    calls_per_second: Math.round((calls / wallMs) * 1000),
    client_ms_per_call: round((used.user + used.system) / 1000 / calls),
    wall_ms_per_call: round(wallMs / calls),
  };
}

async function measureMemory(images: string[], baseUrl: string) {
  const count = Number(flags.rows);
  const samples: number[] = [];
  const every = Math.ceil(count / 10);
  await run(count, images, settings(baseUrl), (row) => {
    if (row % every !== 0) return;
    globalThis.gc?.();
    samples.push(Math.round(process.memoryUsage.rss() / 2 ** 20));
    console.error(`${row} rows: ${samples.at(-1)} MiB`);
  });
  return { bench: 'annotate/memory', rows: count, image_bytes: IMAGE_BYTES, rss_mib_at_each_tenth: samples };
}

/** Mean grade by the response's position in the record, and how often the best of the four gets the highest grade. */
async function measureBias(baseUrl: string) {
  const count = 1000;
  const measure = async (shuffle: boolean, runs: number) => {
    const { stage } = await openAnnotate(settings(baseUrl, { shuffle, runs }));
    const sums = [0, 0, 0, 0];
    let found = 0;
    for await (const { records } of stage(plantedRows(count))) {
      const { annotations, responses } = records[0]!;
      const gradesOf = (index: number) => annotations!.map((entry) => entry.scores![index]!.helpfulness!);
      const means = sums.map((_, index) => gradesOf(index).reduce((sum, grade) => sum + grade, 0) / runs);
      for (const [index, mean] of means.entries()) sums[index]! += mean;
      const best = responses!.findIndex((response) => response.text.startsWith('best'));
      if (means.every((mean, index) => index === best || mean < means[best]!)) found += 1;
    }
    return {
      order: shuffle ? 'shuffled' : 'given',
      runs,
      mean_grades: sums.map((sum) => round(sum / count)),
      best_found: found / count,
    };
  };
  const results = [await measure(false, 1), await measure(true, 1), await measure(false, 4), await measure(true, 4)];
  return {
    bench: 'annotate/position-bias',
    rows: count,
    judge: 'right nine times in ten, +1 for what stands first',
    results,
  };
}

async function* plantedRows(count: number) {
  const random = randomStream(7, 'bench-bias');
  for (let index = 0; index < count; index += 1) {
    const best = random.nextInt(4);
    const responses = [0, 1, 2, 3].map((answer) => ({
      text: `${answer === best ? 'best' : 'other'} answer ${answer} to ${index}`,
    }));
    yield { record: { id: `r${index}`, prompt: 'Which?', responses }, source: 'bench', line: index + 1 };
  }
}

function round(value: number): number {
  return Number(value.toPrecision(4));
}

async function main(): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'vpref-bench-'));
  const machine = { node: process.version, cpu: cpus()[0]?.model, cores: cpus().length };
  const tell = (result: object) => {
    const line = JSON.stringify({ ...result, ...machine, date: new Date().toISOString() });
    console.log(line);
    if (flags.out === undefined) return;
    mkdirSync(dirname(flags.out), { recursive: true });
    appendFileSync(flags.out, `${line}\n`);
  };
  const atOnce = await startServer('at-once');
  const biased = await startServer('biased');
  try {
    const images = writeImages(folder);
    tell(await measureCalls('text', [], atOnce.baseUrl, null));
    tell(await measureCalls('text, cache on disk', [], atOnce.baseUrl, join(folder, 'cache')));
    tell(await measureCalls(`one image of ${IMAGE_BYTES} bytes`, images, atOnce.baseUrl, null));
    tell(await measureBias(biased.baseUrl));
    tell(await measureMemory(images, atOnce.baseUrl));
  } finally {
    atOnce.stop();
    biased.stop();
    rmSync(folder, { recursive: true });
  }
}

if (flags.serve === 'at-once') serveAtOnce();
else if (flags.serve === 'biased') serveBiased();
else await main();
