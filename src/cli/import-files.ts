// SPDX-License-Identifier: Apache-2.0
// Input files of import: unpacks gzip, and buffers standard input in a temporary file, so it can be read
// again.

import { once } from 'node:events';
import {
  closeSync,
  createReadStream,
  createWriteStream,
  mkdtempSync,
  openSync,
  readSync,
  rmSync,
  statSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGunzip } from 'node:zlib';
import { RunError, UsageError } from '../records/error.ts';
import type { ImportFile } from '../stages/import/format.ts';
import { checkFiles, readBytes, totalBytes } from './input.ts';
import type { RunCounts } from './progress.ts';
import { isFolder, savedDatasetFiles } from './saved-dataset.ts';

/**
 * The files, or stdin for "-" or no file. Throws UsageError for an unreadable file.
 *   rereads: whether files will be opened more than once.
 */
export function openImportFiles(
  paths: readonly string[],
  stop: AbortSignal,
  { rereads, counts }: { rereads: boolean; counts: RunCounts },
): ImportFile[] {
  const names = paths.length === 0 ? ['-'] : paths;
  if (names.filter((name) => name === '-').length > 1) throw new UsageError('-: expected once, got twice');
  if (names.includes('-') && process.stdin.isTTY)
    throw new UsageError('expected FILE... or data on stdin, got a terminal (see vpref import --help)');
  const files = names.flatMap((name) => (isFolder(name) ? savedDatasetFiles(name) : name));
  checkFiles(files);
  const bytes = totalBytes(files);
  counts.bytesTotal = bytes === undefined ? undefined : bytes * (rereads ? 2 : 1);
  return files.map((name) => {
    const source = name === '-' ? 'stdin' : name;
    const open = () => unzipped(readBytes(name, stop, counts), source);
    return {
      source,
      open: rereads && isStream(name) ? keptAside(open) : open,
      onDisk: async (bytes) => (await plainPath(name, bytes)) ?? spooled(bytes),
    };
  });
}

/** A stream that can be read again: the first read copies it to a temporary file. */
function keptAside(open: () => AsyncIterable<Uint8Array>): () => AsyncIterable<Uint8Array> {
  let kept: string | undefined;
  return () => {
    if (kept !== undefined) return createReadStream(kept);
    kept = temporaryFile();
    return copying(open(), kept);
  };
}

/** A path in a folder that is deleted when the process ends. */
function temporaryFile(): string {
  const folder = mkdtempSync(join(tmpdir(), 'vpref-import-'));
  process.once('exit', () => rmSync(folder, { recursive: true, force: true }));
  return join(folder, 'input');
}

/** The path of a file that is not packed; then its bytes are not read here. */
async function plainPath(name: string, bytes: AsyncIterable<Uint8Array>): Promise<string | undefined> {
  if (isStream(name) || isGzip(name)) return undefined;
  await bytes[Symbol.asyncIterator]().return?.();
  return name;
}

/** The path of a temporary file with the bytes. */
async function spooled(bytes: AsyncIterable<Uint8Array>): Promise<string> {
  const path = temporaryFile();
  for await (const _ of copying(bytes, path));
  return path;
}

/** Standard input, a pipe or a device: readable only once. */
function isStream(name: string): boolean {
  return name === '-' || !statSync(name).isFile();
}

function isGzip(name: string): boolean {
  const file = openSync(name, 'r');
  const mark = Buffer.alloc(2);
  try {
    readSync(file, mark, 0, 2, 0);
  } finally {
    closeSync(file);
  }
  return mark.equals(GZIP_MARK);
}

const GZIP_MARK = Buffer.from([0x1f, 0x8b]);

async function* copying(chunks: AsyncIterable<Uint8Array>, path: string): AsyncGenerator<Uint8Array> {
  const copy = createWriteStream(path);
  let failure: Error | undefined;
  copy.on('error', (error) => (failure = error));
  for await (const chunk of chunks) {
    if (failure !== undefined)
      throw new RunError('write-failed', `${path}: cannot be written: ${failure.message}`, { cause: failure });
    copy.write(chunk);
    yield chunk;
    if (copy.writableNeedDrain) await once(copy, 'drain');
  }
  copy.end();
  await once(copy, 'close');
}

/** The bytes, gunzipped if they begin as a gzip file. */
async function* unzipped(chunks: AsyncIterable<Uint8Array>, source: string): AsyncGenerator<Uint8Array> {
  const iterator = chunks[Symbol.asyncIterator]();
  const first = await iterator.next();
  if (first.done) return;
  async function* whole() {
    yield first.value;
    for (let next = await iterator.next(); !next.done; next = await iterator.next()) yield next.value;
  }
  if (!GZIP_MARK.equals(first.value.subarray(0, 2))) {
    yield* whole();
    return;
  }
  const gunzip = createGunzip();
  const fed = pipeline(Readable.from(whole()), gunzip).catch(() => {});
  try {
    yield* gunzip as AsyncIterable<Uint8Array>;
    await fed;
  } catch (cause) {
    throw new RunError('read-failed', `${source}: cannot be gunzipped: ${(cause as Error).message}`, { cause });
  }
}
