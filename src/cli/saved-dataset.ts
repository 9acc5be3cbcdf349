// SPDX-License-Identifier: Apache-2.0
// Folders from the datasets library's save_to_disk: the files with the rows, in order.
//   Source: huggingface/datasets src/datasets/arrow_dataset.py, dataset_dict.py (5.0).
import { readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { UsageError } from '../records/error.ts';
import { isObject } from '../records/field.ts';

export function isFolder(path: string): boolean {
  return path !== '-' && statSync(path, { throwIfNoEntry: false })?.isDirectory() === true;
}

/** The shards of a saved data set. Throws UsageError for another folder, or for one with several splits. */
export function savedDatasetFiles(folder: string): string[] {
  const splits = readJson(join(folder, 'dataset_dict.json'))?.splits;
  if (Array.isArray(splits)) {
    if (splits.length === 1) return savedDatasetFiles(join(folder, String(splits[0])));
    const folders = splits.map((split) => join(folder, String(split)));
    throw new UsageError(`${folder}: expected one split of a saved data set, got all of them: name ${listed(folders)}`);
  }
  const state = readJson(join(folder, 'state.json'));
  if (state === undefined)
    throw new UsageError(
      `${folder}: expected a file, or a folder that datasets saved (with state.json), got a directory without it`,
    );
  // Old versions kept a selection of rows beside them.
  if (Array.isArray(state._indices_data_files) && state._indices_data_files.length > 0)
    throw new UsageError(`${folder}: expected rows saved whole (flatten_indices), got a selection of rows`);
  const files = Array.isArray(state._data_files) ? state._data_files : [];
  if (files.length === 0) throw new UsageError(`${folder}/state.json: _data_files: expected files, got none`);
  return files.map((file) => {
    const name = isObject(file) ? file.filename : undefined;
    if (typeof name !== 'string' || name.includes('/'))
      throw new UsageError(`${folder}/state.json: _data_files: expected file names, got something else`);
    return join(folder, name);
  });
}

function listed(folders: readonly string[]): string {
  return folders.length === 0 ? 'one (it has none)' : folders.join(' or ');
}

function readJson(path: string): Record<string, unknown> | undefined {
  if (statSync(path, { throwIfNoEntry: false })?.isFile() !== true) return undefined;
  let value: unknown;
  try {
    value = JSON.parse(readFileSync(path, 'utf8'));
  } catch {}
  if (!isObject(value)) throw new UsageError(`${path}: expected a JSON object, got something else`);
  return value;
}
