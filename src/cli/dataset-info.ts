// SPDX-License-Identifier: Apache-2.0
// Files that `import llama-factory` names through a dataset_info.json.
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { UsageError } from '../records/error.ts';
import { describeValue, isObject } from '../records/field.ts';
import { type DatasetEntry, readDatasetEntry } from '../stages/import/dataset-info.ts';
import type { ImportFile } from '../stages/import/format.ts';
import { openImportFiles } from './import-files.ts';

type Named = string | DatasetEntry;

/** Opens the files; for llama-factory also entries of a dataset_info.json, with file names relative to its folder. Throws UsageError. */
export function openNamedFiles(
  format: string,
  files: readonly string[],
  ...[stop, options]: Rest<typeof openImportFiles>
): ImportFile[] {
  const named = format === 'llama-factory' ? files.map(readNamedEntry) : files;
  const entries = named.filter((file) => typeof file !== 'string');
  const paths = named.map((file) => (typeof file === 'string' ? file : file.fileName));
  return openImportFiles(paths, stop, options).map((file) => {
    const entry = entries.find(({ fileName }) => file.source === fileName || file.source.startsWith(`${fileName}/`));
    return entry === undefined ? file : { ...file, convert: entry.convert };
  });
}

type Rest<F extends (first: never, ...rest: never[]) => unknown> =
  Parameters<F> extends [unknown, ...infer R] ? R : never;

/** A plain file, or the entry and file that `dataset_info.json#NAME` names. */
function readNamedEntry(file: string): Named {
  const [, path, name] = /^(.+\.json)#(.+)$/.exec(file) ?? [];
  if (path === undefined || existsSync(file)) return file;
  let entries: unknown;
  try {
    entries = JSON.parse(readFileSync(path, 'utf8'));
  } catch (cause) {
    throw new UsageError(`${path}: expected LLaMA-Factory's dataset_info.json: ${(cause as Error).message}`);
  }
  if (!isObject(entries) || !Object.hasOwn(entries, name!))
    throw new UsageError(`${path}: expected an entry ${JSON.stringify(name)}, got ${describeValue(entries)}`);
  const entry = readDatasetEntry(entries[name!], file);
  return { ...entry, fileName: join(dirname(path), entry.fileName) };
}
