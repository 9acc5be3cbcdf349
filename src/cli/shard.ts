// SPDX-License-Identifier: Apache-2.0
// --shard: selects this task's rows of the input.
import { UsageError } from '../records/error.ts';

/** Rows with (0-based number) modulo `count` = `index`. */
export interface Shard {
  index: number;
  count: number;
}

/** "0/4", or "auto" from Slurm's array variables: task (ID - MIN) / STEP of COUNT. Throws UsageError. */
export function parseShard(text: string, env: NodeJS.ProcessEnv = process.env): Shard {
  if (text === 'auto') return slurmShard(env);
  const match = /^(\d+)\/(\d+)$/.exec(text);
  const shard = { index: Number(match?.[1]), count: Number(match?.[2]) };
  if (match === null || shard.index >= shard.count)
    throw new UsageError(`--shard: expected INDEX/COUNT with 0 <= INDEX < COUNT, or auto, got ${JSON.stringify(text)}`);
  return shard;
}

function slurmShard(env: NodeJS.ProcessEnv): Shard {
  const read = (name: string, fallback?: number) => {
    const text = env[name];
    if (text === undefined && fallback !== undefined) return fallback;
    if (text !== undefined && /^\d+$/.test(text)) return Number(text);
    const got = text === undefined ? 'it is not set: is this a Slurm array task?' : `got ${JSON.stringify(text)}`;
    throw new UsageError(`--shard auto: ${name}: expected an integer, ${got}`);
  };
  const id = read('SLURM_ARRAY_TASK_ID');
  const count = read('SLURM_ARRAY_TASK_COUNT');
  const index = (id - read('SLURM_ARRAY_TASK_MIN', 0)) / read('SLURM_ARRAY_TASK_STEP', 1);
  if (Number.isInteger(index) && index >= 0 && index < count) return { index, count };
  throw new UsageError(
    `--shard auto: expected an array without gaps (--array=MIN-MAX[:STEP]), got task ${id} as ${index} of ${count}`,
  );
}
