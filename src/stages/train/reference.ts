// SPDX-License-Identifier: Apache-2.0
// The reference of a run: sums that came with the records, checked against the model, or computed once before the first step and kept beside the
// checkpoints, so that a resumed run reads the same numbers.
import { readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { TrainerEngine, TrainRow } from '../../engine/train-requests.ts';
import { RecordError } from '../../records/error.ts';
import type { RefFingerprint } from '../../records/record.ts';
import type { Row } from '../stage.ts';

const FILE = 'reference.json';

/** What the stored reference must have come from: the model with its frozen adapters, or with the adapter that training starts from. */
export interface ReferenceSource {
  model: string;
  adapters: (string | string[] | null)[];
}

/** Throws RecordError where a record's `ref` names another model or adapter. */
export function checkFingerprint(row: Row, source: ReferenceSource): void {
  const { ref } = row.record;
  if (ref === undefined) return;
  if (ref.model !== source.model)
    throw new RecordError(row, 'ref.model', `${source.model} (or --allow-ref-mismatch)`, ref.model);
  const adapter = canonicalAdapter(ref);
  if (!source.adapters.some((allowed) => JSON.stringify(allowed) === adapter))
    throw new RecordError(
      row,
      'ref.adapter',
      `${source.adapters.map((allowed) => JSON.stringify(allowed)).join(' or ')} (or --allow-ref-mismatch)`,
      adapter,
    );
}

function canonicalAdapter({ adapter }: RefFingerprint): string {
  return JSON.stringify(adapter ?? null);
}

/** Reference sums computed at the start, by row number. */
export type LiveReference = Map<number, number[]>;

/** Computes what the rows lack, `batch` rows at a time; `prepare` gives a row by number. The trained adapter counts as it stands at the start. */
export async function computeReference(
  numbers: readonly number[],
  prepare: (number: number) => Promise<TrainRow>,
  trainer: TrainerEngine,
  options: { batch: number; signal: AbortSignal; onProgress: (done: number) => void },
): Promise<LiveReference> {
  const sums: LiveReference = new Map();
  for (let begin = 0; begin < numbers.length; begin += options.batch) {
    options.signal.throwIfAborted();
    const some = numbers.slice(begin, begin + options.batch);
    const scored = await trainer.score(await Promise.all(some.map(prepare)), true);
    for (const [index, number] of some.entries()) sums.set(number, scored[index]!.policy);
    options.onProgress(sums.size);
  }
  return sums;
}

export async function saveReference(dir: string, reference: LiveReference, fingerprint: string): Promise<void> {
  const path = join(dir, FILE);
  await writeFile(`${path}.partial`, JSON.stringify({ fingerprint, sums: [...reference] }));
  await rename(`${path}.partial`, path);
}

/** The stored reference of the same rows, model and settings, or undefined. */
export async function loadReference(dir: string, fingerprint: string): Promise<LiveReference | undefined> {
  const text = await readFile(join(dir, FILE), 'utf8').catch(() => undefined);
  if (text === undefined) return undefined;
  const stored = JSON.parse(text) as { fingerprint: string; sums: [number, number[]][] };
  return stored.fingerprint === fingerprint ? new Map(stored.sums) : undefined;
}
