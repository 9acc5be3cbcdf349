// SPDX-License-Identifier: Apache-2.0
// Checkpoints of a run: numbered directories, renamed when complete. --resume takes the newest complete one.
import { mkdir, open, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { TrainerEngine } from '../../engine/train-requests.ts';
import { RunError, UsageError } from '../../records/error.ts';
import type { Cost } from './cost.ts';
import type { HistoryState } from './history.ts';
import { differences, type RunIdentity } from './run-identity.ts';

/** The contents of a checkpoint besides tensors. */
interface RunState {
  /** Steps done. */
  step: number;
  run: RunIdentity;
  history?: HistoryState | undefined;
  cost?: Cost;
}

const STATE_FILE = 'trainer_state.json';
const NAME = /^checkpoint-(\d+)$/;

/** Path of the newest complete checkpoint below `dir`, or undefined. Ignores directories that were never renamed. */
export async function latestCheckpoint(dir: string): Promise<string | undefined> {
  const newest = (await checkpointNames(dir)).at(-1);
  return newest && join(dir, newest);
}

/** Saves everything under `dir`/checkpoint-STEP; then deletes older checkpoints beyond `keep`. Rank 0 writes for all. */
export async function saveCheckpoint(
  dir: string,
  trainer: TrainerEngine,
  { run, history, cost }: Omit<RunState, 'step'>,
  keep: number,
): Promise<string> {
  const step = trainer.stepsDone;
  const final = join(dir, `checkpoint-${String(step).padStart(6, '0')}`);
  const partial = `${final}.partial`;
  if (trainer.rank !== 0) {
    await trainer.save(partial, { state: true });
    return final;
  }
  try {
    await rm(partial, { recursive: true, force: true });
    await mkdir(partial, { recursive: true });
    await trainer.save(partial, { state: true });
    const state: RunState = { step, run, history, ...(cost && { cost }) };
    await writeFile(join(partial, STATE_FILE), `${JSON.stringify(state)}\n`);
    for (const file of await readdir(partial)) await syncPath(join(partial, file));
    await rm(final, { recursive: true, force: true });
    await rename(partial, final);
    await syncPath(dir);
  } catch (cause) {
    await rm(partial, { recursive: true, force: true }).catch(() => undefined);
    const what = (cause instanceof Error ? cause.message : String(cause)).replaceAll(partial, final);
    throw new RunError('checkpoint', `${final}: could not be saved: ${what}; earlier checkpoints are as they were`, {
      cause,
    });
  }
  for (const old of (await checkpointNames(dir)).slice(0, -keep)) await rm(join(dir, old), { recursive: true });
  return final;
}

/** What a checkpoint holds beside the trainer's files. Rank 0 reads for all. Throws UsageError with the differences if it belongs to another run. */
export async function stateToResume(
  path: string,
  trainer: TrainerEngine,
  run: RunIdentity,
): Promise<Pick<RunState, 'history' | 'cost'>> {
  const own = trainer.rank === 0 ? JSON.stringify(await readState(path)) : '';
  const stored = JSON.parse((await trainer.exchange(own))[0]!) as RunState;
  const found = differences(stored.run, run);
  if (found.length > 0)
    throw new UsageError(
      `--resume: ${path} is of a run with other rows or settings (${found.join('; ')}); give the same input and flags, or another -o DIR`,
    );
  return stored;
}

async function readState(path: string): Promise<RunState> {
  const file = join(path, STATE_FILE);
  try {
    const state = JSON.parse(await readFile(file, 'utf8')) as RunState;
    if (typeof state.run.records === 'string' && typeof state.run.settings === 'object') return state;
    throw new Error('no identity of the run');
  } catch (cause) {
    const what = cause instanceof Error ? cause.message : String(cause);
    throw new RunError('checkpoint', `${file}: expected the state of a run, got: ${what}`, { cause });
  }
}

/** Names of the complete checkpoints, oldest first. */
async function checkpointNames(dir: string): Promise<string[]> {
  const names = await readdir(dir).catch((): string[] => []);
  return names.filter((name) => NAME.test(name)).sort((a, b) => stepOf(a) - stepOf(b));
}

function stepOf(name: string): number {
  return Number(NAME.exec(name)![1]);
}

async function syncPath(path: string): Promise<void> {
  const handle = await open(path, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
