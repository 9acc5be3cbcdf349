// SPDX-License-Identifier: Apache-2.0
// Prepares FILE.partial: handles leftovers of an earlier run, and copies files that another process may have open.
import { constants, copyFileSync, existsSync, renameSync, rmSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import { UsageError } from '../records/error.ts';
import { journalPath } from './journal.ts';

/** Whether there is an unfinished file to resume; if not, deletes leftovers. Throws UsageError for an unfinished file without --resume. */
export function beginPartial(path: string, { resume, startOver }: { resume: boolean; startOver: boolean }): boolean {
  const partial = `${path}.partial`;
  checkOutputPath(path);
  const left = statSync(partial, { throwIfNoEntry: false });
  if (left !== undefined && left.size > 0 && !resume && !startOver)
    throw new UsageError(`${partial}: left unfinished by an earlier run: rerun with --resume, or delete it`);
  if (resume && left !== undefined) return true;
  for (const file of [partial, `${partial}.copy`, journalPath(path)]) rmSync(file, { force: true });
  return false;
}

export function copyWhole(from: string, to: string): void {
  const aside = `${to}.copy`;
  copyFileSync(from, aside, constants.COPYFILE_FICLONE);
  renameSync(aside, to);
}

/** Replaces the file by a copy, so a process on another machine that has it open no longer writes to this name. */
export function moveToCopy(path: string): void {
  if (existsSync(path)) copyWhole(path, path);
}

/** Throws UsageError unless -o is a valid path for a file. */
export function checkOutputPath(path: string): void {
  if (statSync(path, { throwIfNoEntry: false })?.isDirectory())
    throw new UsageError(`-o ${path}: expected a file, got a directory`);
  if (!statSync(dirname(path), { throwIfNoEntry: false })?.isDirectory())
    throw new UsageError(`-o ${path}: expected a file in a directory that exists, got ${dirname(path)}`);
}
