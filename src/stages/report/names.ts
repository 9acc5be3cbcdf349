// SPDX-License-Identifier: Apache-2.0
// The run of a file: its name without the suffix for the kind of rows. seva.metrics.ndjson and seva.summary.ndjson both belong to "seva".
import { basename, dirname, resolve } from 'node:path';
import { UsageError } from '../../records/error.ts';

/** A file of the command line, and its name from NAME=FILE. */
export interface NamedFile {
  file: string;
  name?: string;
}

const KIND = /(?:^|\.)(metrics|summary|scores|gate|samples)$/;

interface Candidate {
  name: string;
  kind: string;
  /** Parent folders, nearest last. */
  folders: string[];
}

/** A name for each file. If two files of a kind would share a name, the distinguishing folders are prepended. Throws UsageError for a repeated file. */
export function runNames(files: readonly NamedFile[]): string[] {
  const paths = files.map(({ file }) => (file === '-' ? file : resolve(file)));
  const twice = paths.findIndex((path, index) => paths.indexOf(path) < index);
  if (twice >= 0) throw new UsageError(`${files[twice]!.file}: expected each file once, got it twice`);
  const candidates = files.map(({ file, name }, index) => candidate(file, paths[index]!, name));
  for (let shared = sharedNames(candidates); shared.size > 0; shared = sharedNames(candidates))
    for (const one of candidates)
      if (shared.has(one.name) && one.folders.length > 0) one.name = `${one.folders.pop()}/${one.name}`;
  return candidates.map(({ name }) => name);
}

function candidate(file: string, path: string, name: string | undefined): Candidate {
  const base = file === '-' ? 'stdin' : basename(file).replace(/\.(nd)?jsonl?$/, '');
  const kind = KIND.exec(base)?.[1] ?? '';
  if (name !== undefined || file === '-') return { name: name ?? base, kind, folders: [] };
  const folders = dirname(path).split('/').filter(Boolean);
  return { name: base.replace(KIND, '') || folders.pop() || base, kind, folders };
}

/** Names that two files of a kind share, and that folders can distinguish. */
function sharedNames(candidates: readonly Candidate[]): Set<string> {
  const key = ({ name, kind }: Candidate) => JSON.stringify([name, kind]);
  const counts = new Map<string, number>();
  for (const one of candidates) counts.set(key(one), (counts.get(key(one)) ?? 0) + 1);
  const shared = new Set(candidates.filter((one) => counts.get(key(one))! > 1).map(({ name }) => name));
  return new Set(
    candidates.filter(({ name, folders }) => shared.has(name) && folders.length > 0).map(({ name }) => name),
  );
}
