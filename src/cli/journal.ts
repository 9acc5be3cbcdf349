// SPDX-License-Identifier: Apache-2.0
// State for --resume: the rows of FILE.partial, and FILE.journal for what the rows do not contain.
import { createReadStream, existsSync } from 'node:fs';
import { UsageError } from '../records/error.ts';
import { isObject } from '../records/field.ts';
import { readLines, readNdjson } from '../records/lines.ts';
import { checkSettings, type Extent, extended, NOTHING, type Settings } from './settings-file.ts';

/** An input row whose output is not one row with the same id. */
export interface JournalEntry {
  id: string;
  /** Ids of its output rows; none if it was dropped or skipped. */
  rows: string[];
  dropped?: string;
  error?: string;
}

/** The first line of a journal. */
export interface JournalHeader {
  journal: typeof JOURNAL_VERSION;
  settings: Settings;
  /** The finished FILE with which FILE.partial began. */
  begun: Extent;
}

export const JOURNAL_VERSION = 2;

/** The finished part of an earlier run. */
export interface Done {
  /** Whether the rows of this input record are already written. */
  has(inputId: string): boolean;
  /** The first row whose record is not in the input. */
  stray(): string | undefined;
  /** Number of complete rows in FILE.partial; the rest is truncated. */
  extent: Extent;
  rows: number;
  /** Number of rows that were skipped, or kept with an error. */
  skipped: number;
  kept: number;
  dropped: Map<string, number>;
  /** Length of the journal's complete lines. */
  journalBytes: number;
}

export function journalPath(path: string): string {
  return `${path}.journal`;
}

export function nothingDone(): Done {
  const none = { has: () => false, stray: () => undefined, extent: NOTHING };
  return { ...none, rows: 0, skipped: 0, kept: 0, dropped: new Map(), journalBytes: 0 };
}

/** Reads FILE.partial and FILE.journal. Throws UsageError if the settings differ from the earlier run's, or a row is not from it. */
export async function readDone(path: string, partial: string, settings: Settings): Promise<Done> {
  if (!existsSync(partial)) return nothingDone();
  const journal = await readJournal(journalPath(path), settings);
  const { offsets, groups, extent } = await readRowOffsets(
    partial,
    journal.journalBytes === 0 ? undefined : journal.extents,
  );
  const done: Done = { ...nothingDone(), extent, journalBytes: journal.journalBytes };
  const inputIds = new Set(offsets.keys());
  // A finished file has no journal. Its rows name the record that they were derived from.
  for (const [id, group] of groups) if (offsets.get(id)! < journal.begun.bytes) inputIds.add(group);
  const owners = new Map(groups);
  let end = extent.bytes;
  for (const { id, rows, dropped, error } of journal.entries) {
    const written = rows.filter((row) => offsets.has(row));
    for (const row of written) {
      owners.set(row, id);
      if (row !== id) inputIds.delete(row);
    }
    if (written.length < rows.length) {
      // The run ended while it wrote these rows: they are the last ones, and are written again.
      inputIds.delete(id);
      for (const row of written) {
        end = Math.min(end, offsets.get(row)!);
        offsets.delete(row);
      }
      continue;
    }
    inputIds.add(id);
    if (dropped !== undefined) done.dropped.set(dropped, (done.dropped.get(dropped) ?? 0) + 1);
    if (error !== undefined) done[rows.length === 0 ? 'skipped' : 'kept'] += 1;
  }
  if (end < extent.bytes) done.extent = await extentOf(partial, end);
  done.rows = offsets.size;
  const asked = new Set<string>();
  done.has = (id) => {
    if (inputIds.has(id)) asked.add(id);
    return inputIds.has(id);
  };
  done.stray = () => [...offsets.keys()].find((row) => !asked.has(row) && !asked.has(owners.get(row) ?? row));
  return done;
}

async function extentOf(path: string, end: number): Promise<Extent> {
  let extent = NOTHING;
  if (end === 0) return extent;
  for await (const chunk of createReadStream(path, { end: end - 1 })) extent = extended(extent, chunk as Buffer);
  return extent;
}

interface RowOffsets {
  offsets: Map<string, number>;
  /** The record that a row was derived from. */
  groups: Map<string, string>;
  extent: Extent;
}

/** Start of each complete row, by id, and end of the last one. Checks every byte against the journal's checksums. */
async function readRowOffsets(partial: string, noted: readonly Extent[] | undefined): Promise<RowOffsets> {
  const extents = noted ?? [];
  const offsets = new Map<string, number>();
  const groups = new Map<string, string>();
  let extent = NOTHING;
  let reached = 0;
  const foreign = (line: number, got: string) =>
    new UsageError(
      `${partial}:${line}: expected a row as the earlier run wrote it, got ${got}: --resume cannot continue this file`,
    );
  for await (const batch of readLines(wholeLinesOf(partial), partial))
    for (const { value, text, error, line } of batch) {
      if (error !== undefined || !isObject(value) || typeof value.id !== 'string')
        throw new UsageError(
          `${partial}:${line}: expected a record of the earlier run: --resume cannot continue this file`,
        );
      if (noted === undefined)
        throw new UsageError(`--resume: ${partial}: expected the journal of its run beside it, got none`);
      if (offsets.has(value.id)) throw foreign(line, `a second row ${JSON.stringify(value.id)}`);
      offsets.set(value.id, extent.bytes);
      if (typeof value.group === 'string' && value.id.startsWith(`${value.group}#`)) groups.set(value.id, value.group);
      extent = extended(extent, Buffer.from(`${text}\n`));
      for (; reached < extents.length && extents[reached]!.bytes <= extent.bytes; reached += 1)
        if (extents[reached]!.bytes < extent.bytes || extents[reached]!.crc !== extent.crc)
          throw foreign(line, 'another row, at this line or before');
      if (reached === extents.length && extent.bytes > (extents.at(-1)?.bytes ?? 0))
        throw foreign(
          line,
          `row ${JSON.stringify(value.id)}, which is not in its journal (cut the file before that line to resume)`,
        );
    }
  return { offsets, groups, extent };
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
  /** Extents of FILE.partial, each recorded before its rows were written. */
  extents: Extent[];
  begun: Extent;
  journalBytes: number;
}

async function readJournal(path: string, settings: Settings): Promise<Journal> {
  const journal: Journal = { entries: [], extents: [], begun: NOTHING, journalBytes: 0 };
  if (!existsSync(path)) return journal;
  for await (const { value, line, text } of readNdjson(wholeLinesOf(path), path)) {
    if (line === 1) {
      journal.begun = checkHeader(path, value, settings).begun;
      reach(journal.extents, journal.begun);
    } else if (isObject(value) && typeof value.crc === 'number') reach(journal.extents, value as unknown as Extent);
    else journal.entries.push(value as JournalEntry);
    journal.journalBytes += Buffer.byteLength(text) + 1;
  }
  return journal;
}

/** The start of a resumed run: rows of later journal entries were never written, or were truncated. */
function reach(extents: Extent[], extent: Extent): void {
  while (extents.length > 0 && extents.at(-1)!.bytes >= extent.bytes) extents.pop();
  if (extent.bytes > 0) extents.push(extent);
}

function checkHeader(path: string, value: unknown, settings: Settings): JournalHeader {
  const header = value as Partial<JournalHeader> | null;
  if (header?.journal !== JOURNAL_VERSION || !isObject(header.settings))
    throw new UsageError(
      `--resume: ${path}: expected the journal of a run of this version, got that of another version: delete it and its FILE.partial to start over`,
    );
  checkSettings(`the run that ${path} is of`, header.settings, settings);
  return header as JournalHeader;
}
