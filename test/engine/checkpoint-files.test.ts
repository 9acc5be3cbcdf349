// SPDX-License-Identifier: Apache-2.0
// Adapters and config.json files of every kind against transformers and peft (scripts/goldens/checkpoints.py), and folders that are not what they
// were given as.
// Covers native/model/adapter.cc native/model/adapter_config.cc native/model/adapter_keys.cc families/llama/llama.cc src/engine/merge.ts
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { checkAdapterFolder, checkModelFolder, weightFiles } from '../../src/engine/checkpoint-files.ts';
import { mergeInto } from '../../src/engine/merge.ts';
import { loadPolicy } from '../../src/engine/policy.ts';
import { isObject } from '../../src/records/field.ts';
import { withoutEngine } from '../support/native.ts';
import { root as project, runCli, temporaryFolder } from '../support/run-cli.ts';
import { writeSafetensors } from '../support/safetensors.ts';

interface Golden {
  ids: number[];
  adapters: { name: string; model: string; config: object; tensors: Record<string, number[]>; logps: number[] }[];
  configs: { name: string; model: string; changes: Record<string, unknown>; logps: number[] }[];
}

const golden: Golden = JSON.parse(readFileSync('fixtures/golden/checkpoints.json', 'utf8'));
const root = mkdtempSync(join(tmpdir(), 'vpref-checkpoints-'));
after(() => rmSync(root, { recursive: true, force: true }));
let folders = 0;

function newFolder(): string {
  const dir = join(root, String(folders++));
  mkdirSync(dir);
  return dir;
}

function copyOf(fixture: string): string {
  const dir = newFolder();
  cpSync(`fixtures/${fixture}`, dir, { recursive: true });
  return dir;
}

// As the script's values(): whole numbers below 2^53 all the way.
function makeAdapter({ config, tensors }: Pick<Golden['adapters'][number], 'config' | 'tensors'>): string {
  const dir = newFolder();
  writeFileSync(join(dir, 'adapter_config.json'), JSON.stringify(config));
  const named = Object.entries(tensors).sort(([a], [b]) => (a < b ? -1 : 1));
  writeSafetensors(
    join(dir, 'adapter_model.safetensors'),
    named.map(([name, shape], salt) => {
      const count = shape.reduce((product, side) => product * side, 1);
      const data = Float32Array.from({ length: count }, (_, i) => (((i * 7919 + salt * 104729) % 1009) - 504) / 5040);
      return { name, shape, data };
    }),
  );
  return dir;
}

const load = (model: string, adapters: string[] = []) =>
  loadPolicy({ model, adapters, device: 'cpu', dtype: 'f32', threads: 2, tokenBytes: [] });

async function logps(model: string, adapters: string[] = []): Promise<number[]> {
  const policy = await load(model, adapters);
  try {
    const [first, ...rest] = golden.ids;
    const promptIds = Int32Array.of(first!);
    const [scored] = await policy.score({ promptIds, images: [], branches: [Int32Array.from(rest)] });
    return [...scored!];
  } finally {
    await policy.close();
  }
}

function assertNear(got: number[], expected: number[]): void {
  assert.equal(got.length, expected.length);
  got.forEach((value, i) => {
    assert.ok(Math.abs(value - expected[i]!) < 1e-3, `token ${i}: expected ${expected[i]}, got ${value}`);
  });
}

for (const one of golden.adapters) {
  test(`adapter with ${one.name} on ${one.model}: peft's numbers, merged too`, { skip: withoutEngine }, async () => {
    const model = `fixtures/${one.model}`;
    const adapter = makeAdapter(one);
    assertNear(await logps(model, [adapter]), one.logps);
    const policy = await load(model, [adapter]);
    const merged = newFolder();
    await mergeInto(policy, model, { dir: merged, dtype: 'f32', trainedOn: 'none' });
    await policy.close();
    assertNear(await logps(merged), one.logps);
  });
}

function edit(config: Record<string, unknown>, changes: Record<string, unknown>): Record<string, unknown> {
  const edited = { ...config };
  for (const [key, value] of Object.entries(changes)) {
    const old = edited[key];
    if (value === null) delete edited[key];
    else edited[key] = key.endsWith('_config') && isObject(old) ? edit(old, value as Record<string, unknown>) : value;
  }
  return edited;
}

for (const { name, model, changes, logps: expected } of golden.configs) {
  test(`config.json with ${name}: transformers' numbers`, { skip: withoutEngine }, async () => {
    const dir = copyOf(model);
    const path = join(dir, 'config.json');
    writeFileSync(path, JSON.stringify(edit(JSON.parse(readFileSync(path, 'utf8')), changes)));
    assertNear(await logps(dir), expected);
  });
}

const Q = 'base_model.model.model.language_model.layers.0.self_attn.q_proj';
const PLAIN = {
  config: { peft_type: 'LORA', r: 2, lora_alpha: 4, target_modules: ['q_proj'] } as Record<string, unknown>,
  tensors: { [`${Q}.lora_A.weight`]: [2, 48], [`${Q}.lora_B.weight`]: [48, 2] } as Record<string, number[]>,
};

const REFUSED: [key: string, value: unknown][] = [
  ...['pissa', 'pissa_niter_4', 'PiSSA', 'olora', 'corda', 'lora_ga', 'loftq', 'mica', 'anything'].map(
    (start): [string, unknown] => ['init_lora_weights', start],
  ),
  ['use_dora', true],
  ['lora_bias', true],
  ['bias', 'lora_only'],
  ['fan_in_fan_out', true],
  ['trainable_token_indices', [3]],
  ['target_parameters', ['w']],
  ['layer_replication', [[0, 2]]],
  ['megatron_config', { a: 1 }],
  ['use_qalora', true],
  ['use_bdlora', { a: 1 }],
  ['alora_invocation_tokens', [1]],
  ['arrow_config', { a: 1 }],
  ['kasa_config', { a: 1 }],
  ['a_key_of_next_year', 1],
  ['target_modules', ['v_proj']],
  ['exclude_modules', ['q_proj']],
  ['layers_to_transform', [1]],
  ['layers_to_transform', 2],
  ['modules_to_save', ['lm_head']],
  ['modules_to_save', ['q_proj']],
];
for (const [key, value] of REFUSED) {
  test(`an adapter with ${key} ${JSON.stringify(value)} is refused by name`, { skip: withoutEngine }, async () => {
    const adapter = makeAdapter({ ...PLAIN, config: { ...PLAIN.config, [key]: value } });
    await assert.rejects(load('fixtures/tiny-mha', [adapter]), (error) => (error as Error).message.includes(key));
  });
}

test('keys without effect on the tensors are ignored', { skip: withoutEngine }, async () => {
  const idle = {
    init_lora_weights: 'gaussian',
    lora_dropout: 0.1,
    task_type: 'CAUSAL_LM',
    eva_config: { rho: 2 },
    use_dora: false,
  };
  const expected = await logps('fixtures/tiny-mha', [makeAdapter(PLAIN)]);
  const same = makeAdapter({ ...PLAIN, config: { ...PLAIN.config, ...idle } });
  assert.deepEqual(await logps('fixtures/tiny-mha', [same]), expected);
});

test('names that peft loads without effect are mapped with a note; those of the older tree, which it finds, give none', {
  skip: withoutEngine,
}, async () => {
  const expected = await logps('fixtures/tiny-mha', [makeAdapter(PLAIN)]);
  const notes: Record<string, number> = {};
  for (const spelling of [
    'base_model.model.language_model.model.layers',
    'base_model.model.model.layers',
    'model.layers',
  ]) {
    const rename = ([name, shape]: [string, number[]]) => [
      name.replace('base_model.model.model.language_model.layers', spelling),
      shape,
    ];
    const adapter = makeAdapter({ ...PLAIN, tensors: Object.fromEntries(Object.entries(PLAIN.tensors).map(rename)) });
    assert.deepEqual(await logps('fixtures/tiny-mha', [adapter]), expected);
    const policy = await load('fixtures/tiny-mha', [adapter]);
    notes[spelling] = policy.info.notes.filter((note) => note.includes('without effect')).length;
    await policy.close();
  }
  assert.deepEqual(Object.values(notes), [0, 1, 1]);
});

test('a resized embedding: both numbers of rows', { skip: withoutEngine }, async () => {
  const tensors = { ...PLAIN.tensors, 'base_model.model.lm_head.weight': [840, 48] };
  const adapter = makeAdapter({ config: { ...PLAIN.config, modules_to_save: ['lm_head'] }, tensors });
  await assert.rejects(load('fixtures/tiny-mha', [adapter]), /expected 832 rows.*got 840.*resize_token_embeddings/);
});

test('merging writes the dtype, sizes and a head of its own into config and index; no stray files', {
  skip: withoutEngine,
}, async () => {
  const model = copyOf('tiny-gqa');
  for (const name of ['adapter_notes.txt', 'pytorch_model.bin.index.json']) writeFileSync(join(model, name), '{}');
  const head = golden.adapters.find(({ name, model: base }) => name === 'head' && base === 'tiny-gqa')!;
  for (const [dtype, named] of [
    ['f32', 'float32'],
    ['f16', 'float16'],
  ] as const) {
    const policy = await load(model, [makeAdapter(head)]);
    const out = newFolder();
    const { untied } = await mergeInto(policy, model, { dir: out, dtype, trainedOn: 'none' });
    await policy.close();
    assert.ok(untied);
    const config = JSON.parse(readFileSync(join(out, 'config.json'), 'utf8'));
    assert.deepEqual(
      [config.dtype, config.tie_word_embeddings, config.text_config.tie_word_embeddings],
      [named, false, false],
    );
    const index = JSON.parse(readFileSync(join(out, 'model.safetensors.index.json'), 'utf8'));
    assert.ok('language_model.lm_head.weight' in index.weight_map || 'lm_head.weight' in index.weight_map);
    assert.equal(index.metadata.total_size, index.metadata.total_parameters * (dtype === 'f32' ? 4 : 2));
    const stray = readdirSync(out).filter((name) => /adapter|pytorch/.test(name));
    assert.deepEqual(stray, []);
  }
});

test('a value that f16 cannot hold is an error naming the tensor', { skip: withoutEngine }, async () => {
  const tensors = { ...PLAIN.tensors };
  const adapter = makeAdapter({ config: { ...PLAIN.config, lora_alpha: 1e9 }, tensors });
  const policy = await load('fixtures/tiny-mha', [adapter]);
  await assert.rejects(
    mergeInto(policy, 'fixtures/tiny-mha', { dir: newFolder(), dtype: 'f16', trainedOn: 'none' }),
    /layers\.0\.self_attn\.q_proj\.weight: expected values that f16 can hold.*--dtype f32/,
  );
  await policy.close();
});

// --- folders --------------------------------------------------------------------------------------------------------------------

const POINTER = 'version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n';

test('the single file comes before an index beside it', async () => {
  const dir = copyOf('tiny-gqa');
  assert.equal((await weightFiles(dir, 'model.safetensors')).length, 6);
  cpSync('fixtures/tiny-mha/model.safetensors', join(dir, 'model.safetensors'));
  assert.deepEqual(await weightFiles(dir, 'model.safetensors'), [join(dir, 'model.safetensors')]);
});

test('a cache snapshot of links is a model; the error for its root names the cache', async () => {
  const cache = newFolder();
  const snapshot = join(cache, 'snapshots', 'abc');
  mkdirSync(snapshot, { recursive: true });
  const blobs = copyOf('tiny-mha');
  for (const name of readdirSync(blobs)) symlinkSync(join(blobs, name), join(snapshot, name));
  await checkModelFolder(snapshot, []);
  await assert.rejects(checkModelFolder(cache, []), /cache folder: give .*snapshots\/abc/);
  await assert.rejects(checkAdapterFolder(cache), /cache folder: give .*snapshots\/abc/);
  rmSync(join(snapshot, 'model.safetensors'));
  symlinkSync('../../blobs/gone', join(snapshot, 'model.safetensors'));
  await assert.rejects(checkModelFolder(snapshot, []), /model.safetensors: expected a file, got a link to nothing/);
});

const WRONG_MODELS: [name: string, change: (dir: string) => void, message: RegExp][] = [
  ['a pointer for the weights', (dir) => writeFileSync(join(dir, 'model.safetensors'), POINTER), /Git LFS pointer/],
  [
    'a pointer for the tokenizer',
    (dir) => writeFileSync(join(dir, 'tokenizer.json'), POINTER),
    /tokenizer.json.*Git LFS/,
  ],
  ['a pointer for a template', (dir) => writeFileSync(join(dir, 'chat_template.jinja'), POINTER), /Git LFS pointer/],
  ['a link as text', (dir) => writeFileSync(join(dir, 'config.json'), '../../blobs/1a2b'), /text of a link/],
  ['pickled weights', (dir) => pickled(dir), /pytorch_model.bin: expected model.safetensors.*save_file/],
  [
    'an adapter inside',
    (dir) => writeFileSync(join(dir, 'adapter_config.json'), '{}'),
    /adapter_config.json: .*--adapter/,
  ],
  ['a pipe as config', (dir) => pipe(join(dir, 'config.json')), /config.json: expected a file, got a pipe/],
  ['a pipe as weights', (dir) => pipe(join(dir, 'model.safetensors')), /expected a file, got a pipe/],
  ['a device as weights', (dir) => device(join(dir, 'model.safetensors')), /expected a file, got a device/],
  ['no config', (dir) => rmSync(join(dir, 'config.json')), /expected a model's config.json, got none/],
];
for (const [name, change, message] of WRONG_MODELS) {
  test(`a model with ${name} is refused`, async () => {
    const dir = copyOf('tiny-text');
    await checkModelFolder(dir, []);
    change(dir);
    await assert.rejects(checkModelFolder(dir, []), message);
  });
}

function pickled(dir: string): void {
  rmSync(join(dir, 'model.safetensors'));
  writeFileSync(join(dir, 'pytorch_model.bin'), 'x');
}

function pipe(path: string): void {
  rmSync(path);
  execFileSync('mkfifo', [path]);
}

function device(path: string): void {
  rmSync(path);
  symlinkSync('/dev/zero', path);
}

test('a model as adapter, an adapter as model, one folder too high, a name of the hub', async () => {
  await assert.rejects(checkAdapterFolder('fixtures/tiny-mha'), /expected a PEFT adapter, got a model/);
  const adapter = 'fixtures/golden/models/adapters/a';
  await assert.rejects(checkModelFolder(adapter, []), /expected a model, got a PEFT adapter: give it as --adapter/);
  await assert.rejects(checkAdapterFolder('fixtures/golden/models/adapters'), /adapters\/a.* has one/);
  await assert.rejects(checkModelFolder('org/name', []), /nothing is downloaded.*huggingface.co\/org\/name/);
  await assert.rejects(checkModelFolder('package.json', []), /got a file/);
});

test('an adapter with pickled weights, or with trained weights beside it, is refused', async () => {
  const adapter = makeAdapter(PLAIN);
  await checkAdapterFolder(adapter);
  writeFileSync(join(adapter, 'non_lora_trainables.bin'), 'x');
  await assert.rejects(checkAdapterFolder(adapter), /non_lora_trainables.bin/);
  rmSync(join(adapter, 'non_lora_trainables.bin'));
  rmSync(join(adapter, 'adapter_model.safetensors'));
  writeFileSync(join(adapter, 'adapter_model.bin'), 'x');
  await assert.rejects(checkAdapterFolder(adapter), /adapter_model.bin: expected adapter_model.safetensors/);
});

test('an adapter in the model folder is taken when it is given', async () => {
  const dir = copyOf('tiny-mha');
  const adapter = makeAdapter(PLAIN);
  cpSync(adapter, dir, { recursive: true });
  await assert.rejects(checkModelFolder(dir, [adapter]), /adapter_config.json/);
  await checkModelFolder(dir, [`${dir}/.`]);
  await checkAdapterFolder(dir);
});

test('every command that opens a model or adapter refuses it at once', async (t) => {
  if (withoutEngine) return t.skip(withoutEngine);
  const folder = temporaryFolder('checkpoint');
  execFileSync('mkfifo', [join(folder, 'config.json')]);
  execFileSync('mkfifo', [join(folder, 'adapter_config.json')]);
  const tiny = join(project, 'fixtures/tiny-gqa');
  const input = '{"id":"a","prompt":"p","chosen":"x","rejected":"y","responses":[{"text":"z"}]}\n';
  for (const args of [
    ['sample', '--model', folder],
    ['sample', '--model', tiny, '--adapter', folder],
    ['score', '--model', folder],
    ['train', '--model', folder, '-o', join(folder, 'run')],
    ['train', '--model', tiny, '--init-adapter', folder, '-o', join(folder, 'run')],
    ['annotate', '--judge', `local:${folder}`],
    ['export', 'merge', '--model', tiny, '--adapter', folder, '-o', join(folder, 'merged')],
  ]) {
    const { code, stdout, stderr } = await runCli(args, { input });
    assert.deepEqual([code, stdout], [1, ''], `${args}: ${stderr}`);
    assert.match(stderr, /config\.json: expected a file, got a pipe/);
  }
});
