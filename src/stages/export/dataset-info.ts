// SPDX-License-Identifier: Apache-2.0
// LLaMA-Factory's dataset_info.json: the entry of a written file.
import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { basename, extname } from 'node:path';
import { UsageError } from '../../records/error.ts';
import { isObject } from '../../records/field.ts';
import { datasetEntry } from './llama-factory.ts';

/** Returns a function that adds the written file's entry to dataset_info.json. Throws UsageError before anything is written. */
export function datasetInfo(
  format: string,
  flags: { output?: string | undefined; 'dataset-info'?: string | undefined; 'dataset-name'?: string | undefined },
) {
  const { output, 'dataset-info': path, 'dataset-name': name } = flags;
  if (path === undefined) {
    if (name !== undefined) throw new UsageError('--dataset-name: expected --dataset-info with it');
    return undefined;
  }
  if (format !== 'llama-factory') throw new UsageError(`--dataset-info: expected format llama-factory, got ${format}`);
  if (output === undefined) throw new UsageError('--dataset-info: expected -o FILE, which the entry names');
  const entries = readEntries(path);
  return (row: Record<string, unknown>) => {
    const file = basename(output);
    const whole = { ...entries, [name ?? file.slice(0, file.length - extname(file).length)]: datasetEntry(file, row) };
    writeFileSync(`${path}.partial`, `${JSON.stringify(whole, null, 2)}\n`);
    renameSync(`${path}.partial`, path);
  };
}

function readEntries(path: string): Record<string, unknown> {
  if (!existsSync(path)) return {};
  let entries: unknown;
  try {
    entries = JSON.parse(readFileSync(path, 'utf8'));
  } catch {}
  if (!isObject(entries))
    throw new UsageError(`--dataset-info ${path}: expected a JSON object of entries, got something else`);
  return entries;
}
