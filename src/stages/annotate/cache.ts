// SPDX-License-Identifier: Apache-2.0
// Content-addressed cache of judge replies: one small file per reply, named by the hash of its request. Only readable replies
// are stored. Processes can share it: files are written under another name, then renamed, and never change.
import { randomBytes } from 'node:crypto';
import { mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { Attempt } from '../../http/attempt.ts';
import { RunError } from '../../records/error.ts';

/** A stored reply. Its text is the judge's, so a changed parser needs no new call. */
export interface CachedReply {
  key: string;
  judge: string;
  attempt: Attempt;
  /** The first, unreadable text, if the attempt is a repair. */
  unrepairedText?: string;
}

export interface ReplyCache {
  get(key: string): Promise<CachedReply | undefined>;
  /** Returns after the reply is on disk, so a killed run loses no reply that was paid for. */
  put(reply: CachedReply): void;
}

/** The cache in this folder, which is created with the first reply. */
export function folderCache(folder: string): ReplyCache {
  const made = new Set<string>();
  return {
    get: (key) => readEntry(entryFile(folder, key), key),
    put: (reply) => {
      const file = entryFile(folder, reply.key);
      try {
        if (!made.has(dirname(file))) mkdirSync(dirname(file), { recursive: true });
        made.add(dirname(file));
        writeWhole(file, `${JSON.stringify(reply)}\n`);
      } catch (cause) {
        throw new RunError('cache', `${file}: ${(cause as Error).message}; --no-cache runs without it`, { cause });
      }
    },
  };
}

/** A cache that stores nothing. */
export const noCache: ReplyCache = { get: async () => undefined, put: () => {} };

function entryFile(folder: string, key: string): string {
  return join(folder, key.slice(0, 2), `${key.slice(2)}.json`);
}

/** A missing, truncated or unknown file is a miss. */
async function readEntry(file: string, key: string): Promise<CachedReply | undefined> {
  let entry: CachedReply;
  try {
    entry = JSON.parse(await readFile(file, 'utf8')) as CachedReply;
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    if (code === undefined || code === 'ENOENT') return undefined;
    throw new RunError('cache', `${file}: ${(cause as Error).message}`, { cause });
  }
  return entry?.key === key && typeof entry.attempt?.text === 'string' ? entry : undefined;
}

/** Writes to a temporary name and renames: readers see no file or a complete one. */
export function writeWhole(file: string, text: string): void {
  const aside = `${file}.${process.pid}.${randomBytes(4).toString('hex')}`;
  try {
    writeFileSync(aside, text);
    renameSync(aside, file);
  } catch (cause) {
    rmSync(aside, { force: true });
    throw cause;
  }
}
