// SPDX-License-Identifier: Apache-2.0
// What --resume needs to know: the rows of FILE.partial, and FILE.journal for what they do not say.
import { createReadStream, existsSync } from 'node:fs';
import { UsageError } from '../records/error.ts';
import { isObject } from '../records/field.ts';
import { readLines, readNdjson } from '../records/lines.ts';

/** An input row whose output is not one row with the same id. */
export interface JournalEntry {
  id: string;
  /** Ids of its output rows; none when it was dropped or left out. */
  rows: string[];
  dropped?: string;
  error?: string;
}

/** What an earlier run has finished. */
export interface Done {
  has(inputId: string): boolean;
  /** Length of the whole rows in FILE.partial; what follows is cut. */
  bytes: number;
  rows: number;
  /** Rows that were left out, or kept with an error. */
  skipped: number;
  kept: number;
  dropped: Map<string, number>;
  /** Length of the journal's whole lines. */
  journalBytes: number;
}

export function journalPath(path: string): string {
  return `${path}.journal`;
}

export function nothingDone(): Done {
  return { has: () => false, bytes: 0, rows: 0, skipped: 0, kept: 0, dropped: new Map(), journalBytes: 0 };
}

/** Reads FILE.partial and FILE.journal. Throws UsageError if the settings differ from the earlier run's. */
export async function readDone(path: string, partial: string, settings: Record<string, unknown>): Promise<Done> {
  if (!existsSync(partial)) return nothingDone();
  const { entries, journalBytes } = await readJournal(journalPath(path), settings);
  const { offsets, groups, bytes } = await readRowOffsets(partial);
  const done: Done = { ...nothingDone(), bytes, journalBytes };
  const inputIds = new Set(offsets.keys());
  // A finished file has no journal: that of its rows that were derived from one record say so themselves.
  if (journalBytes === 0) for (const id of groups) inputIds.add(id);
  for (const { id, rows, dropped, error } of entries) {
    const written = rows.filter((row) => offsets.has(row));
    for (const row of written) if (row !== id) inputIds.delete(row);
    if (written.length < rows.length) {
      // Its rows were being written when the run ended: they are the last ones, and are written again.
      inputIds.delete(id);
      for (const row of written) {
        done.bytes = Math.min(done.bytes, offsets.get(row)!);
        offsets.delete(row);
      }
      continue;
    }
    inputIds.add(id);
    if (dropped !== undefined) done.dropped.set(dropped, (done.dropped.get(dropped) ?? 0) + 1);
    if (error !== undefined) done[rows.length === 0 ? 'skipped' : 'kept'] += 1;
  }
  done.rows = offsets.size;
  done.has = (id) => inputIds.has(id);
  return done;
}

interface RowOffsets {
  offsets: Map<string, number>;
  /** Records that rows were derived from. */
  groups: Set<string>;
  bytes: number;
}

/** Where each whole row begins, by id, and where the last one ends. */
async function readRowOffsets(partial: string): Promise<RowOffsets> {
  const offsets = new Map<string, number>();
  const groups = new Set<string>();
  let bytes = 0;
  for await (const batch of readLines(wholeLinesOf(partial), partial))
    for (const { value, text, error, line } of batch) {
      if (error !== undefined || !isObject(value) || typeof value.id !== 'string')
        throw new UsageError(
          `${partial}:${line}: expected a record of the earlier run: not a file that --resume can go on with`,
        );
      offsets.set(value.id, bytes);
      if (typeof value.group === 'string' && value.id.startsWith(`${value.group}#`)) groups.add(value.group);
      bytes += Buffer.byteLength(text) + 1;
    }
  return { offsets, groups, bytes };
}

/** The bytes up to the last newline. */
async function* wholeLinesOf(path: string): AsyncGenerator<Buffer> {
  let tail: Buffer[] = [];
  for await (const chunk of createReadStream(path, { highWaterMark: 256 * 1024 }) as AsyncIterable<Buffer>) {
    const end = chunk.lastIndexOf(0x0a) + 1;
    if (end === 0) {
      tail.push(chunk);
      continue;
    }
    yield* tail;
    yield chunk.subarray(0, end);
    tail = end < chunk.length ? [chunk.subarray(end)] : [];
  }
}

interface Journal {
  entries: JournalEntry[];
  journalBytes: number;
}

async function readJournal(path: string, settings: Record<string, unknown>): Promise<Journal> {
  const entries: JournalEntry[] = [];
  let journalBytes = 0;
  if (!existsSync(path)) return { entries, journalBytes };
  for await (const { value, line, text } of readNdjson(wholeLinesOf(path), path)) {
    if (line === 1) checkSettings(path, (value as { settings: Record<string, unknown> }).settings, settings);
    else entries.push(value as JournalEntry);
    journalBytes += Buffer.byteLength(text) + 1;
  }
  return { entries, journalBytes };
}

function checkSettings(path: string, before: Record<string, unknown>, now: Record<string, unknown>): void {
  for (const name of new Set([...Object.keys(before), ...Object.keys(now)])) {
    const [was, is] = [before[name], now[name]].map((value) => JSON.stringify(value) ?? 'nothing');
    if (was !== is)
      throw new UsageError(`--resume: ${name}: expected ${was} as in the run that ${path} is of, got ${is}`);
  }
}
