// SPDX-License-Identifier: Apache-2.0
// .FILE.settings: the settings, size and checksum of a finished FILE, so --resume continues only that file.
import {
  closeSync,
  createReadStream,
  existsSync,
  fsyncSync,
  openSync,
  readFileSync,
  renameSync,
  writeSync,
} from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { UsageError } from '../records/error.ts';
import { isObject } from '../records/field.ts';

export type Settings = Record<string, unknown>;

/** The extent of a file: its length and the CRC-32 of its bytes. */
export interface Extent {
  bytes: number;
  crc: number;
}

export const NOTHING: Extent = { bytes: 0, crc: 0 };

export function settingsPath(path: string): string {
  return join(dirname(path), `.${basename(path)}.settings`);
}

/** The extent after these bytes. */
export function extended({ bytes, crc }: Extent, more: Uint8Array): Extent {
  // Most runs write to stdout: loading zlib at each start would cost them milliseconds.
  const { crc32 } = process.getBuiltinModule('node:zlib');
  return { bytes: bytes + more.length, crc: crc32(more, crc) };
}

/** Written completely before FILE is renamed, so FILE never has the settings of an earlier one. */
export function writeSettings(path: string, settings: Settings, extent: Extent): void {
  const partial = `${settingsPath(path)}.partial`;
  const fd = openSync(partial, 'w');
  try {
    writeSync(fd, `${JSON.stringify({ version: 1, ...extent, settings })}\n`);
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
  renameSync(partial, settingsPath(path));
}

/** The extent of a finished FILE. Throws UsageError unless it was made with these settings and is unchanged. */
export async function checkFinished(path: string, settings: Settings): Promise<Extent> {
  const file = settingsPath(path);
  const again = `run without --resume to make ${path} again`;
  if (!existsSync(file))
    throw new UsageError(
      `--resume: ${path}: expected the settings of its run in ${file}, got nothing of that name; ${again}`,
    );
  const { bytes, crc, settings: before } = readSettings(file);
  checkSettings(`the run that made ${path}`, before, settings);
  let found = NOTHING;
  for await (const chunk of createReadStream(path)) found = extended(found, chunk as Buffer);
  if (found.bytes !== bytes || found.crc !== crc)
    throw new UsageError(
      `--resume: ${path}: expected the ${bytes} bytes that its run wrote, got ${found.bytes === bytes ? 'other content' : found.bytes}: it was changed since; ${again}`,
    );
  return found;
}

function readSettings(file: string): Extent & { settings: Settings } {
  try {
    const value: unknown = JSON.parse(readFileSync(file, 'utf8'));
    if (isObject(value) && value.version === 1 && isObject(value.settings))
      return value as unknown as Extent & { settings: Settings };
  } catch {}
  throw new UsageError(`--resume: ${file}: expected the settings of a run, got something else`);
}

/** Throws UsageError with the first setting that differs. `origin`: the run with the earlier settings. */
export function checkSettings(origin: string, before: Settings, now: Settings): void {
  for (const name of new Set([...Object.keys(before), ...Object.keys(now)])) {
    const [was, is] = [before[name], now[name]].map((value) => JSON.stringify(value) ?? 'nothing');
    if (was !== is) throw new UsageError(`--resume: ${name}: expected ${was} as in ${origin}, got ${is}`);
  }
}
