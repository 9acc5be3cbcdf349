// SPDX-License-Identifier: Apache-2.0
// What may lie in the directory of a model or adapter: files and folders. A pipe would be waited for without end, a device read without end.
import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { EngineError } from './engine-error.ts';

/** Throws EngineError{"checkpoint"} naming an entry that is neither a file nor a folder, links followed. */
export function refuseSpecialFiles(directory: string): void {
  for (const entry of readdirSync(directory, { withFileTypes: true })) {
    if (entry.isFile() || entry.isDirectory()) continue;
    const path = join(directory, entry.name);
    // A link to nothing is for those who open it to tell.
    const stats = statSync(path, { throwIfNoEntry: false });
    if (stats === undefined || stats.isFile() || stats.isDirectory()) continue;
    const kind = stats.isFIFO() ? 'a pipe' : stats.isSocket() ? 'a socket' : 'a device';
    throw new EngineError('checkpoint', `${path}: expected a file, got ${kind}`);
  }
}
