// SPDX-License-Identifier: Apache-2.0
// The reference of a run: sums from the records, checked against the model, or computed once before the first step and stored beside the
// checkpoints, so a resumed run reads the same numbers.

import { open, readFile } from 'node:fs/promises';
import type { LossNeeds, TrainerEngine, TrainRow } from '../../engine/train-requests.ts';
import type { Row } from '../../flow/stage.ts';
import type { ModelContext } from '../../model/context.ts';
import { planRecord } from '../../model/record-plan.ts';
import { count } from '../../records/count.ts';
import { RecordError, RunError } from '../../records/error.ts';
import type { RefFingerprint } from '../../records/record.ts';
import { checkInputs, referenceInputs } from '../reference-inputs.ts';
import { rowsOfRank } from './order.ts';
import { referenceSums } from './rows.ts';

/** The required origin of stored sums: the model with its frozen adapters, or with the initial adapter. */
export interface ReferenceSource {
  model: string;
  dtype: string;
  /** Absent: the weights as stored. */
  quantize?: string;
  adapters: (string | string[] | null)[];
}

/**
 * Whether a record's stored sums were verified against its texts: false for a `ref` of version 0.1, which does not record them. Throws RecordError
 * with the difference: model, adapter, dtype, prompt, response, pixels, images; or if the origin of the sums is not recorded.
 */
export async function checkReference(
  row: Row,
  source: ReferenceSource,
  needs: LossNeeds,
  context: ModelContext,
): Promise<boolean> {
  const { ref } = row.record;
  if (ref === undefined) {
    if (needs.reference && referenceSums(row, needs) !== undefined)
      throw new RecordError(
        row,
        'ref',
        'what computed ref_* (precompute-ref writes it; or --allow-ref-mismatch)',
        'none',
      );
    return true;
  }
  checkFingerprint(row, ref, source);
  if (ref.inputs === undefined) return false;
  checkInputs(row, ref.inputs, await referenceInputs(row, await planRecord(row, context), context), OR_ALLOW);
  return true;
}

const OR_ALLOW = 'or --allow-ref-mismatch';

function checkFingerprint(row: Row, ref: RefFingerprint, source: ReferenceSource): void {
  if (ref.model !== source.model) throw new RecordError(row, 'ref.model', `${source.model} (${OR_ALLOW})`, ref.model);
  const adapter = canonicalAdapter(ref);
  if (!source.adapters.some((allowed) => JSON.stringify(allowed) === adapter))
    throw new RecordError(
      row,
      'ref.adapter',
      `${source.adapters.map((allowed) => JSON.stringify(allowed)).join(' or ')} (${OR_ALLOW})`,
      adapter,
    );
  if (ref.dtype !== undefined && ref.dtype !== source.dtype)
    throw new RecordError(row, 'ref.dtype', `${source.dtype} (--dtype; ${OR_ALLOW})`, ref.dtype);
  const [stored, ours] = [ref.quantize ?? 'none', source.quantize ?? 'none'];
  if (stored !== ours) throw new RecordError(row, 'ref.quantize', `${ours} (--quantize; ${OR_ALLOW})`, stored);
}

function canonicalAdapter({ adapter }: RefFingerprint): string {
  return JSON.stringify(adapter ?? null);
}

/** Reference sums computed at the start, by row number. */
export type LiveReference = Map<number, number[]>;

export interface ReferenceOptions {
  /** File where rank 0 stores finished sums, so a stopped or killed run resumes after them, with the same batches. */
  path: string;
  /** Identity of the run: sums of another run are not used. */
  digest: string;
  /** Rows that a rank scores per line of the file. */
  batch: number;
  /** The same on all ranks. */
  isStopped(): Promise<boolean>;
  note(message: string): void;
  onProgress(done: number): void;
}

type ScoredRow = [number: number, sums: number[]];

/**
 * Computes missing sums of the rows in `numbers`, all ranks together; `prepare` gives a row by number. Uses the initial state of the trained adapter.
 * Undefined if the run was stopped.
 */
export async function computeReference(
  numbers: readonly number[],
  prepare: (number: number) => Promise<TrainRow>,
  trainer: TrainerEngine,
  options: ReferenceOptions,
): Promise<LiveReference | undefined> {
  if (numbers.length === 0) return new Map();
  const { rank, numRanks } = trainer;
  const { path, note } = options;
  const head = `${JSON.stringify({ run: options.digest })}\n`;
  const kept = rank === 0 ? await keptLines(path, head) : [];
  const sums: LiveReference = new Map((await everyRanks(trainer, kept)).flatMap((line) => JSON.parse(line)));
  if (sums.size === numbers.length) return sums;
  note(
    sums.size === 0
      ? `${count(numbers.length, 'row has', 'rows have')} no reference log-probs: computing them with the starting model`
      : `reference log-probs: resuming after ${sums.size} of ${count(numbers.length, 'row')}`,
  );
  const file = rank === 0 ? await open(path, 'w').catch(failedToWrite(path)) : undefined;
  try {
    await file?.write(head + kept.join('')).catch(failedToWrite(path));
    const round = options.batch * numRanks;
    for (let begin = sums.size; begin < numbers.length; begin += round) {
      if (await options.isStopped()) return undefined;
      const own = rowsOfRank(Uint32Array.from(numbers.slice(begin, begin + round)), rank, numRanks);
      const scored = own.length === 0 ? [] : await trainer.score(await Promise.all(Array.from(own, prepare)), true);
      const rows = await everyRanks(
        trainer,
        scored.map(({ policy }, index): ScoredRow => [own[index]!, policy]),
      );
      await file?.write(`${JSON.stringify(rows)}\n`).catch(failedToWrite(path));
      for (const [number, policy] of rows) sums.set(number, policy);
      options.onProgress(sums.size);
    }
    await file?.sync();
  } finally {
    await file?.close();
  }
  return sums;
}

/** The complete lines after `head`, without a truncated one. */
async function keptLines(path: string, head: string): Promise<string[]> {
  const text = await readFile(path, 'utf8').catch(() => '');
  if (!text.startsWith(head)) return [];
  return text.slice(head.length).match(/.*\n/g) ?? [];
}

/** The lists of all ranks, concatenated. */
export async function everyRanks<T>(trainer: TrainerEngine, own: readonly T[]): Promise<T[]> {
  if (trainer.numRanks === 1) return [...own];
  return (await trainer.exchange(JSON.stringify(own))).flatMap((text) => JSON.parse(text) as T[]);
}

/** Node's error for a failed write has no path. */
export function failedToWrite(path: string) {
  return (cause: Error): never => {
    throw new RunError('io', `${path}: could not be written: ${cause.message}`, { cause });
  };
}
