// SPDX-License-Identifier: Apache-2.0
// Reads small files of a checkpoint. Refuses anything that is not a file, by name.
import { lstat, open, stat } from 'node:fs/promises';
import { RunError } from '../records/error.ts';

const LFS_MARK = 'version https://git-lfs.github.com/spec/';
/** The engine's reader has the same limit; no config comes near. */
const MAX_DEPTH = 64;

/** The text of a file; undefined if there is none. Throws RunError{code} for a folder, pipe or device, a dangling link or a Git LFS pointer. */
export async function readTextFile(file: string, code: string): Promise<string | undefined> {
  if (!(await isFile(file, code))) return undefined;
  let text: string;
  try {
    const handle = await open(file);
    try {
      text = await handle.readFile('utf8');
    } finally {
      await handle.close();
    }
  } catch (cause) {
    throw new RunError(code, `${file}: ${(cause as Error).message}`, { cause });
  }
  checkHead(file, text.slice(0, MOST_OF_A_STAND_IN + 1), code);
  return text;
}

/** A JSON object file; undefined if there is none. Throws RunError{code} as readTextFile does, and if it is not a JSON object or nested too deeply. */
export async function readJsonObject(file: string, code: string): Promise<Record<string, unknown> | undefined> {
  const text = await readTextFile(file, code);
  if (text === undefined) return undefined;
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new RunError(code, `${file}: ${(cause as Error).message}`, { cause });
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new RunError(code, `${file}: expected a JSON object, got ${text.slice(0, 40)}`);
  }
  if (isDeeperThan(value, MAX_DEPTH))
    throw new RunError(code, `${file}: expected at most ${MAX_DEPTH} levels of nesting, got more`);
  return value as Record<string, unknown>;
}

/** Whether there is a regular file. Throws RunError{code} if something else has the name. */
export async function isFile(path: string, code: string): Promise<boolean> {
  const found = await stat(path).catch((cause: NodeJS.ErrnoException) => {
    if (cause.code === 'ENOENT' || cause.code === 'ENOTDIR') return undefined;
    throw new RunError(code, `${path}: ${cause.message}`, { cause });
  });
  if (found === undefined) {
    const link = await lstat(path).catch(() => undefined);
    if (link?.isSymbolicLink()) throw new RunError(code, `${path}: expected a file, got a link to nothing`);
    return false;
  }
  if (found.isFile()) return true;
  const kind = found.isDirectory() ? 'a folder' : found.isFIFO() ? 'a pipe' : 'a device or socket';
  throw new RunError(code, `${path}: expected a file, got ${kind}`);
}

/**
 * Throws RunError{code} if a file is only a placeholder: a Git LFS pointer from a clone without git-lfs, or a
 * link's target as text from a copy without links.
 */
export async function checkNoStandIn(path: string, code: string): Promise<void> {
  const handle = await open(path).catch((cause: Error) => {
    throw new RunError(code, `${path}: ${cause.message}`, { cause });
  });
  try {
    const head = Buffer.alloc(MOST_OF_A_STAND_IN + 1);
    const { bytesRead } = await handle.read(head, 0, head.length, 0);
    checkHead(path, head.toString('latin1', 0, bytesRead), code);
  } finally {
    await handle.close();
  }
}

const MOST_OF_A_STAND_IN = 1024;

function checkHead(path: string, head: string, code: string): void {
  if (head.startsWith(LFS_MARK))
    throw new RunError(
      code,
      `${path}: expected the file itself, got a Git LFS pointer to it: install git-lfs, then run "git lfs install" and "git lfs pull" in its folder`,
    );
  if (head.length <= MOST_OF_A_STAND_IN && /^(\.\.\/)+[^\n]+$/.test(head))
    throw new RunError(
      code,
      `${path}: expected the file itself, got the text of a link (${head}): copy the folder with its links followed (cp -rL)`,
    );
}

function isDeeperThan(value: object, limit: number): boolean {
  let level: object[] = [value];
  for (let depth = 0; level.length > 0; depth++) {
    if (depth > limit) return true;
    const next: object[] = [];
    for (const item of level)
      for (const child of Array.isArray(item) ? item : Object.values(item))
        if (typeof child === 'object' && child !== null) next.push(child as object);
    level = next;
  }
  return false;
}
