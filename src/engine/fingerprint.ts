// SPDX-License-Identifier: Apache-2.0
// Identity of a model without reading 14 GB: SHA-256 over the configuration, tensor names and shapes, file sizes and 64 KiB samples of
// every shard. Equal for a copy of the directory; different if a weight file was trained, merged or converted.
import { createHash, type Hash } from 'node:crypto';
import { type FileHandle, open } from 'node:fs/promises';
import { join } from 'node:path';
import { RunError } from '../records/error.ts';
import { readJsonObject } from '../text/json-file.ts';
import { weightFiles } from './checkpoint-files.ts';
import { readAt, readHeader } from './safetensors.ts';

const SAMPLE_BYTES = 64 * 1024;
const SAMPLES_A_SHARD = 16;

// Keys that differ between copies of the same weights.
const VOLATILE_KEYS = new Set([
  '_name_or_path',
  'transformers_version',
  'base_model_name_or_path',
  'revision',
  'peft_version',
  'inference_mode',
]);

/** `sha256:...` of a Hugging Face model directory. Throws RunError{"checkpoint"} if a file is missing or malformed. */
export async function fingerprintModel(dir: string): Promise<string> {
  return fingerprint(dir, 'config.json', 'model.safetensors');
}

/** `sha256:...` of a PEFT adapter directory. Throws RunError{"checkpoint"} as fingerprintModel does. */
export async function fingerprintAdapter(dir: string): Promise<string> {
  return fingerprint(dir, 'adapter_config.json', 'adapter_model.safetensors');
}

async function fingerprint(dir: string, configName: string, weightsName: string): Promise<string> {
  const config = await readJsonObject(join(dir, configName), 'checkpoint');
  if (config === undefined) throw new RunError('checkpoint', `${join(dir, configName)}: expected a file, got none`);
  const hash = createHash('sha256');
  hash.update(`config ${canonicalJson(config)}\n`);
  for (const file of await weightFiles(dir, weightsName)) await hashShard(hash, file);
  return `sha256:${hash.digest('hex')}`;
}

async function hashShard(hash: Hash, file: string): Promise<void> {
  let handle: FileHandle;
  try {
    handle = await open(file);
  } catch (cause) {
    throw new RunError('checkpoint', `${file}: ${(cause as Error).message}`, { cause });
  }
  try {
    const { size } = await handle.stat();
    const { dataBegin, tensors } = await readHeader(handle, file, size);
    // Names, dtypes and shapes; offsets follow from them.
    const shapes = Object.fromEntries(
      Object.entries(tensors).map(([name, { dtype, shape }]) => [name, [dtype, shape]]),
    );
    hash.update(`shard ${size} ${canonicalJson(shapes)}\n`);
    const dataSize = size - dataBegin;
    const count = Math.min(SAMPLES_A_SHARD, Math.ceil(dataSize / SAMPLE_BYTES));
    const last = Math.max(0, dataSize - SAMPLE_BYTES);
    for (let sample = 0; sample < count; sample++) {
      const at = dataBegin + (count === 1 ? 0 : Math.floor((last * sample) / (count - 1)));
      hash.update(await readAt(handle, at, Math.min(SAMPLE_BYTES, size - at)));
    }
  } finally {
    await handle.close();
  }
}

// Keys sorted at every level, so the order in a file does not matter.
function canonicalJson(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonicalJson).join(',')}]`;
  if (typeof value !== 'object' || value === null) return JSON.stringify(value);
  const entries = Object.entries(value).filter(([key]) => !VOLATILE_KEYS.has(key));
  entries.sort(([a], [b]) => (a < b ? -1 : 1));
  return `{${entries.map(([key, item]) => `${JSON.stringify(key)}:${canonicalJson(item)}`).join(',')}}`;
}
