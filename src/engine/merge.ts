// SPDX-License-Identifier: Apache-2.0
// Writes a complete checkpoint directory from a loaded model: weight files with everything merged, a matching configuration and index,\n// and the other files unchanged.
import { copyFile, mkdir, open, readdir, stat, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { RunError } from '../records/error.ts';
import { isObject } from '../records/field.ts';
import { readJsonObject } from '../text/json-file.ts';
import { loadBinding } from './binding.ts';
import { weightFiles } from './checkpoint-files.ts';
import { fromEngine } from './engine-error.ts';
import type { MergeResult, MergeTarget } from './native.ts';
import type { Policy } from './policy.ts';
import type { BaseForm } from './requests.ts';
import { readHeader, readMetadata } from './safetensors.ts';

/** Files of a checkpoint that hold or list weights, or belong to an adapter: rewritten or not copied. */
const NOT_COPIED =
  /\.(safetensors|bin|pt|pth|gguf|partial)$|\.index\.json$|^config\.json$|^adapter_|^README\.md$|^MODEL_CARD\.md$/;

/**
 * Writes the model with its adapters, or the trained model, into `dir`; `baseModel` gives config and tokenizer. Packed weights
 * are written dequantised.
 */
export async function mergeInto(policy: Policy, baseModel: string, target: MergeTarget): Promise<MergeResult> {
  const { dir, dtype } = target;
  await mkdir(dir, { recursive: true });
  for (const name of await readdir(baseModel)) {
    if (NOT_COPIED.test(name) || !(await stat(join(baseModel, name))).isFile()) continue;
    await copyFile(join(baseModel, name), join(dir, name));
  }
  const { binding } = loadBinding(policy.info.device);
  const result = await fromEngine(() => binding.mergeModel(policy.native, target));
  const config = (await readJsonObject(join(baseModel, 'config.json'), 'checkpoint')) ?? {};
  await writeJson(join(dir, 'config.json'), mergedConfig(config, dtype, result.untied));
  await writeIndex(baseModel, dir);
  return result;
}

/** Quantization of an adapter's base during training; `none`: as stored, or not recorded. */
export async function trainedOn(adapter: string): Promise<BaseForm> {
  const [file = ''] = await weightFiles(adapter, 'adapter_model.safetensors');
  const said = (await readMetadata(file))[TRAINED_ON];
  if (said === undefined) return 'none';
  if (said !== 'nf4' && said !== 'int8' && said !== 'fp4')
    throw new RunError('checkpoint', `${file}: ${TRAINED_ON}: expected nf4, fp4 or int8, got ${JSON.stringify(said)}`);
  return said;
}

const TRAINED_ON = 'vpref.trained_on';

const DTYPE_KEYS = ['dtype', 'torch_dtype'];

/** The configuration of the written weights: transformers loads them in its dtype. */
function mergedConfig(config: object, dtype: 'f32' | 'f16', untied: boolean): Record<string, unknown> {
  const named = dtype === 'f32' ? 'float32' : 'float16';
  const changed = (part: object): Record<string, unknown> =>
    Object.fromEntries(
      Object.entries(part).flatMap(([key, value]) => {
        // Packed weights are written unpacked.
        if (key === 'quantization_config') return [];
        if (DTYPE_KEYS.includes(key) && value !== null) return [[key, named]];
        if (key === 'tie_word_embeddings' && untied) return [[key, false]];
        return [[key, key.endsWith('_config') && isObject(value) ? changed(value) : value]];
      }),
    );
  const merged = changed(config);
  if (!DTYPE_KEYS.some((key) => typeof merged[key] === 'string')) merged.dtype = named;
  return merged;
}

// Files have the names and tensors of the base model's; sizes differ with the dtype.
async function writeIndex(baseModel: string, dir: string): Promise<void> {
  const name = 'model.safetensors';
  const files = await weightFiles(baseModel, name);
  if (files.length === 1 && basename(files[0]!) === name) return;
  const old = await readJsonObject(join(baseModel, `${name}.index.json`), 'checkpoint');
  const metadata = { ...(isObject(old?.metadata) ? old.metadata : {}) } as Record<string, unknown>;
  const map: Record<string, string> = {};
  let bytes = 0;
  let values = 0;
  for (const file of files.map((path) => basename(path))) {
    const handle = await open(join(dir, file));
    try {
      const { tensors } = await readHeader(handle, join(dir, file), (await handle.stat()).size);
      for (const [tensor, { shape, offsets }] of Object.entries(tensors)) {
        const [begin, end] = offsets as [number, number];
        map[tensor] = file;
        bytes += end - begin;
        values += (shape as number[]).reduce((product, side) => product * side, 1);
      }
    } finally {
      await handle.close();
    }
  }
  metadata.total_size = bytes;
  if ('total_parameters' in metadata) metadata.total_parameters = values;
  await writeJson(join(dir, `${name}.index.json`), { metadata, weight_map: map });
}

async function writeJson(path: string, value: object): Promise<void> {
  await writeFile(path, `${JSON.stringify(value, null, 2)}\n`);
}
