// SPDX-License-Identifier: Apache-2.0
// Checkpoints of a run: numbered directories, renamed when whole; the newest whole one is what --resume takes.
import { mkdir, open, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { TrainerEngine } from '../../engine/train-requests.ts';
import { RunError, UsageError } from '../../records/error.ts';

/** What a resumed run must agree with, beside the tensors. */
export interface RunState {
  /** Steps done. */
  step: number;
  /** Digest of the rows and of the settings that the numbers depend on. */
  fingerprint: string;
}

const STATE_FILE = 'trainer_state.json';
const NAME = /^checkpoint-(\d+)$/;

/** Path of the newest whole checkpoint below `dir`, or undefined. Directories that were never renamed are ignored. */
export async function latestCheckpoint(dir: string): Promise<string | undefined> {
  const names = await readdir(dir).catch((): string[] => []);
  const numbered = names.flatMap((name) => {
    const match = NAME.exec(name);
    return match ? [{ name, step: Number(match[1]) }] : [];
  });
  const newest = numbered.sort((a, b) => b.step - a.step)[0];
  return newest && join(dir, newest.name);
}

/** Saves everything under `dir`/checkpoint-STEP; older checkpoints beyond `keep` go once the new one is whole. Rank 0 writes for all. */
export async function saveCheckpoint(
  dir: string,
  trainer: TrainerEngine,
  fingerprint: string,
  keep: number,
): Promise<string> {
  const step = trainer.stepsDone;
  const name = `checkpoint-${String(step).padStart(6, '0')}`;
  const final = join(dir, name);
  const partial = `${final}.partial`;
  if (trainer.rank !== 0) {
    await trainer.save(partial, { state: true });
    return final;
  }
  await rm(partial, { recursive: true, force: true });
  await mkdir(partial, { recursive: true });
  try {
    await trainer.save(partial, { state: true });
    const state: RunState = { step, fingerprint };
    await writeFile(join(partial, STATE_FILE), `${JSON.stringify(state)}\n`);
    for (const file of await readdir(partial)) await syncPath(join(partial, file));
  } catch (cause) {
    await rm(partial, { recursive: true, force: true });
    const what = cause instanceof Error ? cause.message : String(cause);
    throw new RunError('checkpoint', `${final}: could not be saved: ${what}; earlier checkpoints are as they were`, {
      cause,
    });
  }
  await rm(final, { recursive: true, force: true });
  await rename(partial, final);
  await syncPath(dir);
  const others = (await readdir(dir)).filter((other) => NAME.test(other)).sort(byStep);
  for (const old of others.slice(0, Math.max(0, others.length - keep)))
    await rm(join(dir, old), { recursive: true, force: true });
  return final;
}

/** Loads a checkpoint into the trainer; rank 0 reads for all. Throws UsageError when it belongs to other rows or settings. */
export async function restoreCheckpoint(path: string, trainer: TrainerEngine, fingerprint: string): Promise<RunState> {
  const text = trainer.rank === 0 ? await readFile(join(path, STATE_FILE), 'utf8') : '';
  const state = JSON.parse((await trainer.exchange(text))[0]!) as RunState;
  if (state.fingerprint !== fingerprint)
    throw new UsageError(
      `--resume: ${path} was made from other rows or settings; give the same input and flags, or another -o DIR`,
    );
  await trainer.restore(path);
  return state;
}

function byStep(a: string, b: string): number {
  return Number(NAME.exec(a)![1]) - Number(NAME.exec(b)![1]);
}

async function syncPath(path: string): Promise<void> {
  const handle = await open(path, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
