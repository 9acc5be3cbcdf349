// SPDX-License-Identifier: Apache-2.0
// Checks a model or adapter directory before it is read. Each common mistake has its own error.
import { readdirSync, statSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { RunError } from '../records/error.ts';
import { checkNoStandIn, isFile, readJsonObject } from '../text/json-file.ts';

const MODEL_WEIGHTS = 'model.safetensors';
const ADAPTER_WEIGHTS = 'adapter_model.safetensors';
const ADAPTER_CONFIG = 'adapter_config.json';
/** Optional files beside the weights. */
const READ_FILES = [
  'config.json',
  'generation_config.json',
  'preprocessor_config.json',
  'processor_config.json',
  'tokenizer.json',
  'tokenizer_config.json',
  'special_tokens_map.json',
  'chat_template.json',
  'chat_template.jinja',
];

/** Throws RunError{"checkpoint"} unless `dir` is a model's folder; `adapters`: those given with it. */
export async function checkModelFolder(dir: string, adapters: readonly string[]): Promise<void> {
  checkDirectory(dir, 'a model');
  const names = new Set(readdirSync(dir));
  const fail = failing(dir);
  if (!names.has('config.json')) {
    if (names.has(ADAPTER_CONFIG))
      fail(`expected a model, got a PEFT adapter: give it as --adapter, and as --model ${await baseOf(dir)}`);
    if (names.has('snapshots')) fail(`expected a model, got a Hugging Face cache folder: ${snapshots(dir)}`);
    fail(
      `expected a model's config.json, got none (is this a Hugging Face model directory?)${below(dir, 'config.json')}`,
    );
  }
  for (const name of READ_FILES.filter((file) => names.has(file))) {
    await isFile(join(dir, name), 'checkpoint');
    await checkNoStandIn(join(dir, name), 'checkpoint');
  }
  const isGiven = adapters.some((adapter) => resolve(adapter) === resolve(dir));
  if (names.has(ADAPTER_CONFIG) && !isGiven)
    fail(
      `${ADAPTER_CONFIG}: expected no adapter beside the weights, which transformers would apply too: give --adapter ${dir} as well, or move the adapter_* files away`,
    );
  await checkWeights(dir, MODEL_WEIGHTS, names, ['pytorch_model.bin', 'pytorch_model.bin.index.json']);
}

/** Throws RunError{"checkpoint"} unless `dir` is an adapter's folder whose files are all read. */
export async function checkAdapterFolder(dir: string): Promise<void> {
  checkDirectory(dir, 'an adapter');
  const names = new Set(readdirSync(dir));
  const fail = failing(dir);
  if (!names.has(ADAPTER_CONFIG)) {
    if (names.has('config.json')) fail('expected a PEFT adapter, got a model: give it as --model');
    if (names.has('snapshots')) fail(`expected a PEFT adapter, got a Hugging Face cache folder: ${snapshots(dir)}`);
    fail(`expected a PEFT adapter's ${ADAPTER_CONFIG}, got none${below(dir, ADAPTER_CONFIG)}`);
  }
  await isFile(join(dir, ADAPTER_CONFIG), 'checkpoint');
  await checkNoStandIn(join(dir, ADAPTER_CONFIG), 'checkpoint');
  await checkWeights(dir, ADAPTER_WEIGHTS, names, ['adapter_model.bin']);
  if (names.has('non_lora_trainables.bin'))
    fail(
      `non_lora_trainables.bin: expected no trained weights beside the adapter that are not in ${ADAPTER_WEIGHTS}: ` +
        "this file of the original LLaVA holds its trained projector. Merge it into the model there (LLaVA's scripts/merge_lora_weights.py) and convert that, or write its " +
        `tensors into ${ADAPTER_WEIGHTS} under their names; without it the results differ`,
    );
}

// Safetensors files, not Git LFS pointers. Pickles are refused: loading one runs code from it.
async function checkWeights(dir: string, name: string, names: Set<string>, pickles: string[]): Promise<void> {
  const index = `${name}.index.json`;
  if (!names.has(name) && !names.has(index)) {
    const pickle = pickles.find((file) => names.has(file));
    if (pickle !== undefined)
      failing(dir)(
        `${pickle}: expected ${name}: pickled weights are not supported. Convert them once in Python: ` +
          `from safetensors.torch import save_file; import torch; t = torch.load("${pickle.replace('.index.json', '')}", weights_only=True); ` +
          `save_file({k: v.clone().contiguous() for k, v in t.items()}, "${name}", {"format": "pt"})`,
      );
    failing(dir)(name === MODEL_WEIGHTS ? `expected ${name} or ${index}, got neither` : `expected ${name}, got none`);
  }
  for (const file of await weightFiles(dir, name)) {
    if (!(await isFile(file, 'checkpoint'))) throw new RunError('checkpoint', `${file}: expected a file, got none`);
    await checkNoStandIn(file, 'checkpoint');
  }
}

/** Weight files of a folder in name order: the single file, which comes first as in transformers, or the shards of its index. */
export async function weightFiles(dir: string, name: string): Promise<string[]> {
  const single = join(dir, name);
  if (await isFile(single, 'checkpoint')) return [single];
  const path = join(dir, `${name}.index.json`);
  const index = await readJsonObject(path, 'checkpoint');
  if (index === undefined) return [single];
  const map = index.weight_map;
  if (typeof map !== 'object' || map === null)
    throw new RunError('checkpoint', `${path}: weight_map: expected an object, got ${typeof map}`);
  return [...new Set(Object.values(map as Record<string, unknown>))].sort().map((file) => {
    if (typeof file !== 'string' || file === '' || file.includes('/') || file === '..')
      throw new RunError('checkpoint', `${path}: weight_map: expected file names, got ${JSON.stringify(file)}`);
    return join(dir, file);
  });
}

function checkDirectory(path: string, what: string): void {
  const stats = statSync(path, { throwIfNoEntry: false });
  if (stats?.isDirectory()) return;
  if (stats !== undefined) throw new RunError('checkpoint', `${path}: expected ${what}'s directory, got a file`);
  const hub = /^[A-Za-z0-9][\w.-]*\/[A-Za-z0-9][\w.-]*$/.test(path)
    ? `; nothing is downloaded: a model of the hub is fetched with "git clone https://huggingface.co/${path}" (with git-lfs) or "hf download ${path} --local-dir DIR"`
    : '';
  throw new RunError('checkpoint', `${path}: expected ${what}'s directory, got nothing of that name${hub}`);
}

function failing(dir: string) {
  return (message: string): never => {
    throw new RunError('checkpoint', `${dir}: ${message}`);
  };
}

async function baseOf(dir: string): Promise<string> {
  const config = await readJsonObject(join(dir, ADAPTER_CONFIG), 'checkpoint');
  const base = config?.base_model_name_or_path;
  return typeof base === 'string' ? `its base model (${base})` : 'its base model';
}

function snapshots(dir: string): string {
  const found = readdirSync(join(dir, 'snapshots')).sort();
  return found.length === 0
    ? 'it has no snapshots'
    : `give ${found.map((name) => join(dir, 'snapshots', name)).join(' or ')}`;
}

// A subfolder that has the expected file: a run's checkpoint-*, or a path one level too high.
function below(dir: string, name: string): string {
  const folders = readdirSync(dir, { withFileTypes: true }).filter((entry) => entry.isDirectory());
  const found = folders.map((entry) => join(dir, entry.name)).filter((folder) => readdirSync(folder).includes(name));
  return found.length === 0 ? '' : `; ${found.sort().slice(0, 3).join(', ')} has one`;
}
