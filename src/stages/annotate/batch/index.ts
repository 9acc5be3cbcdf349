// SPDX-License-Identifier: Apache-2.0
// Batch modes: questions are submitted as files in the provider's format; replies are collected later.
// A folder holds the files and a manifest. Each step is recorded before the next starts, so any step can be
// interrupted and rerun.

import { existsSync } from 'node:fs';
import { mkdir, open, readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Row } from '../../../flow/stage.ts';
import { type Attempt, cutAtStop, failed } from '../../../http/attempt.ts';
import { parseJson } from '../../../http/chat.ts';
import type { HttpClient } from '../../../http/client.ts';
import { count } from '../../../records/count.ts';
import { RunError, UsageError } from '../../../records/error.ts';
import { writeWhole } from '../cache.ts';
import type { Judge } from '../judge.ts';
import { apiBody, type JudgeApi } from '../providers/http-judge.ts';
import { eachQuestion, type QuestionSource, reportBadRow } from '../survey.ts';
import { type BatchApi, UNSURE } from './api.ts';

/** A batch costs half the price. */
export const BATCH_PRICE_FACTOR = 0.5;

/** Limits per file: OpenAI 50,000 requests and 200 MB, Gemini 2 GB. */
const MAX_REQUESTS = 50_000;
const MAX_BYTES = 100 * 1024 * 1024;

interface Manifest {
  judge: string;
  guide: string;
  /** All request files are written. */
  isWritten: boolean;
  files: RequestFile[];
}

interface RequestFile {
  file: string;
  requests: number;
  /** Set just before submission. If it is set without `batch`, the file may or may not have been submitted. */
  isSubmitting?: boolean;
  /** The provider's name for it. */
  batch?: string;
  /** Result files. */
  collected?: string[];
}

export interface SubmitOptions extends QuestionSource {
  folder: string;
  api: JudgeApi;
  batch: BatchApi;
  /** If absent, only the files are written. */
  client?: HttpClient | undefined;
}

/** Writes and submits request files for all questions that are not in the cache. Yields one row per file. */
export async function* submitBatch(rows: AsyncIterable<Row>, options: SubmitOptions): AsyncGenerator<object> {
  const { folder, batch, client } = options;
  await mkdir(folder, { recursive: true });
  let manifest = await readManifest(folder);
  if (manifest) checkManifest(manifest, folder, options);
  if (!manifest?.isWritten) manifest = await writeRequests(rows, batch, options);
  for (const entry of manifest.files) {
    if (client && entry.batch === undefined) await handIn(entry, manifest, { folder, batch, client });
    yield { file: join(folder, entry.file), requests: entry.requests, batch: entry.batch ?? null };
  }
}

/** Submits one file, never twice: a batch that is started twice is billed twice. */
async function handIn(
  entry: RequestFile,
  manifest: Manifest,
  to: { folder: string; batch: BatchApi; client: HttpClient },
) {
  const { folder, batch, client } = to;
  if (entry.isSubmitting) {
    const file = join(folder, 'batch.json');
    throw new RunError(
      'batch',
      `${entry.file}: an earlier run stopped while it submitted this file; look at the provider's list of batches, then in ${file} set its name as "batch" or remove "isSubmitting"`,
    );
  }
  const bytes = await readFile(join(folder, entry.file));
  writeManifest(folder, {
    ...manifest,
    files: manifest.files.map((other) => (other === entry ? { ...entry, isSubmitting: true } : other)),
  });
  try {
    entry.batch = await batch.submit(client, entry.file, bytes);
  } catch (cause) {
    if ((cause as RunError).code !== UNSURE) writeManifest(folder, manifest);
    throw cause;
  }
  writeManifest(folder, manifest);
}

async function writeRequests(rows: AsyncIterable<Row>, batch: BatchApi, options: SubmitOptions): Promise<Manifest> {
  const { folder, judge, ready, api } = options;
  const manifest: Manifest = { judge: judge.name, guide: ready.guide.name, isWritten: false, files: [] };
  writeManifest(folder, manifest);
  const writer = new RequestWriter(folder, manifest);
  try {
    for await (const { row, question, isNew } of eachQuestion(rows, options)) {
      if (!isNew) continue;
      const { request } = question;
      const body = await apiBody(api, request).catch((cause: unknown) => reportBadRow(row, cause, options));
      if (body !== undefined) await writer.write(batch.requestLine(request.key, body));
    }
  } finally {
    await writer.close();
  }
  writeManifest(folder, { ...manifest, isWritten: true });
  return { ...manifest, isWritten: true };
}

/** Request files of bounded size. */
class RequestWriter {
  readonly #folder: string;
  readonly #manifest: Manifest;
  #file: Awaited<ReturnType<typeof open>> | undefined;
  #bytes = 0;

  constructor(folder: string, manifest: Manifest) {
    this.#folder = folder;
    this.#manifest = manifest;
  }

  async write(line: object): Promise<void> {
    const text = `${JSON.stringify(line)}\n`;
    const size = Buffer.byteLength(text);
    const last = this.#manifest.files.at(-1);
    if (this.#file === undefined || this.#bytes + size > MAX_BYTES || last!.requests >= MAX_REQUESTS)
      await this.#next();
    await this.#file!.write(text);
    this.#bytes += size;
    this.#manifest.files.at(-1)!.requests += 1;
  }

  async close(): Promise<void> {
    await this.#file?.close();
  }

  async #next(): Promise<void> {
    await this.#file?.close();
    const file = `requests-${String(this.#manifest.files.length).padStart(3, '0')}.jsonl`;
    this.#manifest.files.push({ file, requests: 0 });
    this.#file = await open(join(this.#folder, file), 'w');
    this.#bytes = 0;
  }
}

export interface CollectOptions {
  folder: string;
  batch: BatchApi;
  judge: Judge;
  guide: string;
  client: HttpClient;
  warn(message: string): void;
}

/** A judge that replies from a batch's results. Throws RunError('batch-pending') while one still runs. */
export async function collectedJudge(options: CollectOptions): Promise<Judge> {
  const { folder, batch, client, judge } = options;
  const manifest = await readManifest(folder);
  if (!manifest?.isWritten)
    throw new UsageError(`${folder}: holds no submitted batch (submit one with --batch submit)`);
  checkManifest(manifest, folder, { judge, guide: options.guide });
  await fetchResults(manifest, { folder, batch, client, warn: options.warn });
  const results = await readResults(folder, batch, options.warn);
  const missing = failed('transport', 'the batch has no result for this question');
  return {
    ...judge,
    ask: async (request) => {
      const attempt = results.get(request.key) ?? missing;
      // No retry is possible here, and one bad row must not stop the run.
      const text = judge.info.stop ? attempt : cutAtStop(attempt, request.parameters.stop);
      return { ...text, retry: false, fatal: false, throttle: false };
    },
    close: () => client.close(),
  };
}

interface FetchOptions {
  folder: string;
  batch: BatchApi;
  client: HttpClient;
  warn(message: string): void;
}

async function fetchResults(manifest: Manifest, { folder, batch, client, warn }: FetchOptions): Promise<void> {
  const running: string[] = [];
  for (const [index, entry] of manifest.files.entries()) {
    if (entry.collected || entry.batch === undefined) continue;
    const { state, detail, outputs } = await batch.status(client, entry.batch);
    if (state === 'running') {
      running.push(`${entry.batch} (${detail})`);
      continue;
    }
    if (state === 'failed')
      warn(`batch ${entry.batch} ended as ${detail}; its questions without a result are kept as failed`);
    entry.collected = [];
    for (const [part, output] of outputs.entries()) {
      const file = `results-${String(index).padStart(3, '0')}-${part}.jsonl`;
      writeWhole(join(folder, file), await batch.fetch(client, output));
      entry.collected.push(file);
    }
    writeManifest(folder, manifest);
  }
  if (running.length > 0) {
    throw new RunError(
      'batch-pending',
      `${running.length} of ${count(manifest.files.length, 'batch', 'batches')} not finished: ${running.join(', ')}`,
    );
  }
}

/** Every results*.jsonl of the folder, including files that the user added. */
async function readResults(
  folder: string,
  batch: BatchApi,
  warn: (message: string) => void,
): Promise<Map<string, Attempt>> {
  const results = new Map<string, Attempt>();
  for (const file of (await readdir(folder)).filter((name) => /^results.*\.jsonl$/.test(name)).sort()) {
    const lines = (await readFile(join(folder, file), 'utf8')).split('\n');
    for (const [index, text] of lines.entries()) {
      if (text.trim() === '') continue;
      const line = batch.readLine(parseJson(text));
      if (line === undefined) {
        warn(`${join(folder, file)}:${index + 1}: expected a result with its id, got ${text.slice(0, 80)}`);
        continue;
      }
      // For a repeated question, prefer a reply to a failure, then the earlier one.
      if (results.get(line.key)?.outcome !== 'ok') results.set(line.key, line.attempt);
    }
  }
  return results;
}

async function readManifest(folder: string): Promise<Manifest | undefined> {
  const file = join(folder, 'batch.json');
  if (!existsSync(file)) return undefined;
  const manifest = parseJson(await readFile(file, 'utf8')) as Manifest | undefined;
  if (!Array.isArray(manifest?.files)) throw new UsageError(`${file}: is not a batch manifest`);
  return manifest;
}

function writeManifest(folder: string, manifest: Manifest): void {
  writeWhole(join(folder, 'batch.json'), `${JSON.stringify(manifest, null, 1)}\n`);
}

function checkManifest(
  manifest: Manifest,
  folder: string,
  wanted: { judge: Judge; guide?: string; ready?: { guide: { name: string } } },
): void {
  const guide = wanted.guide ?? wanted.ready?.guide.name;
  if (manifest.judge === wanted.judge.name && manifest.guide === guide) return;
  throw new UsageError(
    `${folder}: expected a batch of ${wanted.judge.name} with guide ${guide}, got one of ${manifest.judge} with guide ${manifest.guide}`,
  );
}
