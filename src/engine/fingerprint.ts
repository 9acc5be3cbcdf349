// SPDX-License-Identifier: Apache-2.0
// What a model is, without reading 14 GB: SHA-256 over the configuration, tensor names and shapes, file sizes and 64 KiB samples of
// every shard. Equal for a copy of the directory; different when a weight file was trained, merged or converted.
import { createHash, type Hash } from 'node:crypto';
import { type FileHandle, open } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { RunError } from '../records/error.ts';
import { readJsonObject } from '../text/tokenizer.ts';

const SAMPLE_BYTES = 64 * 1024;
const SAMPLES_A_SHARD = 16;
// The limit of the safetensors format itself.
const MAX_HEADER_BYTES = 100_000_000;

// Keys that differ between copies of the same weights.
const VOLATILE_KEYS = new Set([
  '_name_or_path',
  'transformers_version',
  'base_model_name_or_path',
  'revision',
  'peft_version',
  'inference_mode',
]);

/** `sha256:...` of a Hugging Face model directory. Throws RunError{"checkpoint"} when a file is missing or is not what it should be. */
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
  for (const file of await shardFiles(dir, weightsName)) await hashShard(hash, file);
  return `sha256:${hash.digest('hex')}`;
}

/** Weight files of a directory in name order: the shards of NAME.index.json, or NAME itself. */
async function shardFiles(dir: string, weightsName = 'model.safetensors'): Promise<string[]> {
  const index = await readJsonObject(join(dir, `${weightsName}.index.json`), 'checkpoint');
  if (index === undefined) return [join(dir, weightsName)];
  const map = index.weight_map;
  if (typeof map !== 'object' || map === null) {
    throw new RunError(
      'checkpoint',
      `${join(dir, `${weightsName}.index.json`)}: weight_map: expected an object, got ${typeof map}`,
    );
  }
  const names = [...new Set(Object.values(map as Record<string, unknown>))].sort();
  return names.map((name) => {
    if (typeof name !== 'string' || basename(name) !== name) {
      throw new RunError(
        'checkpoint',
        `${weightsName}.index.json: weight_map: expected file names, got ${JSON.stringify(name)}`,
      );
    }
    return join(dir, name);
  });
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
    hash.update(`shard ${size} ${canonicalJson(tensors)}\n`);
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

// Names, dtypes and shapes; offsets follow from them.
async function readHeader(
  handle: FileHandle,
  file: string,
  size: number,
): Promise<{ dataBegin: number; tensors: Record<string, unknown> }> {
  const fail = (got: string): never => {
    throw new RunError('checkpoint', `${file}: expected a safetensors file, got ${got}`);
  };
  if (size < 8) fail(`${size} bytes`);
  const length = Number((await readAt(handle, 0, 8)).readBigUInt64LE());
  if (length > MAX_HEADER_BYTES || length > size - 8) fail(`a header length of ${length} in ${size} bytes`);
  let header: unknown;
  try {
    header = JSON.parse((await readAt(handle, 8, length)).toString('utf8'));
  } catch (cause) {
    fail(`a header that is not JSON (${(cause as Error).message})`);
  }
  if (typeof header !== 'object' || header === null || Array.isArray(header)) fail('a header that is not an object');
  const tensors: Record<string, unknown> = {};
  for (const [name, entry] of Object.entries(header as Record<string, { dtype?: unknown; shape?: unknown } | null>)) {
    if (name !== '__metadata__') tensors[name] = [entry?.dtype ?? null, entry?.shape ?? null];
  }
  return { dataBegin: 8 + length, tensors };
}

async function readAt(handle: FileHandle, position: number, length: number): Promise<Buffer> {
  const buffer = Buffer.alloc(length);
  const { bytesRead } = await handle.read(buffer, 0, length, position);
  return buffer.subarray(0, bytesRead);
}

// Keys sorted at every level, so that the order in a file does not matter.
function canonicalJson(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonicalJson).join(',')}]`;
  if (typeof value !== 'object' || value === null) return JSON.stringify(value);
  const entries = Object.entries(value).filter(([key]) => !VOLATILE_KEYS.has(key));
  entries.sort(([a], [b]) => (a < b ? -1 : 1));
  return `{${entries.map(([key, item]) => `${JSON.stringify(key)}:${canonicalJson(item)}`).join(',')}}`;
}
