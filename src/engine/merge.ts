// SPDX-License-Identifier: Apache-2.0
// A whole checkpoint directory out of a loaded model: weight files with everything merged, and the other files as they are.
import { copyFile, mkdir, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { loadBinding, type MergeResult } from './binding.ts';
import { fromEngine } from './engine-error.ts';
import type { Policy } from './policy.ts';

/** Files of a checkpoint that hold weights or belong to an adapter: written anew or left out. */
const NOT_COPIED = /\.(safetensors|bin|pt|pth|gguf|partial)$|^adapter_config\.json$|^README\.md$|^MODEL_CARD\.md$/;

/** Writes the model with its adapters, or as a trainer has made it, into `dir`; `baseModel` gives configuration and tokenizer. */
export async function mergeInto(
  policy: Policy,
  baseModel: string,
  dir: string,
  dtype: 'f32' | 'f16',
): Promise<MergeResult> {
  await mkdir(dir, { recursive: true });
  for (const entry of await readdir(baseModel, { withFileTypes: true }))
    if (!entry.isDirectory() && !NOT_COPIED.test(entry.name))
      await copyFile(join(baseModel, entry.name), join(dir, entry.name));
  const { binding } = loadBinding(policy.info.device);
  return fromEngine(() => binding.mergeModel(policy.native, dir, dtype));
}
