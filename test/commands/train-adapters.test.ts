// SPDX-License-Identifier: Apache-2.0
// Training that goes on from adapters of every kind, and the projector alone: what comes out holds all that went in.
// Covers native/train/trainable.cc native/train/session.cc src/engine/trainer.ts
import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { withoutEngine as skip } from '../support/native.ts';
import { runCli } from '../support/run-cli.ts';
import { readSafetensors, writeSafetensors } from '../support/safetensors.ts';

const folder = mkdtempSync(join(tmpdir(), 'vpref-train-adapters-'));
after(() => rmSync(folder, { recursive: true, force: true }));
const path = (name: string) => join(folder, name);
const MODEL = 'fixtures/tiny-mha';
const ROOT = 'base_model.model.';
const LAYER = `${ROOT}model.language_model.layers`;
const TOWER = `${ROOT}model.vision_tower.encoder.layers.0.self_attn.q_proj`;
const PROJECTOR = `${ROOT}model.multi_modal_projector`;

const image = 'fixtures/images/photo.png';
const pairs = [1, 2, 3, 4].map((id) => ({
  id: String(id),
  images: [image],
  prompt: `What is in picture ${id}?`,
  chosen: 'A red ball and a box.',
  rejected: `There are ${id} dogs.`,
}));
writeFileSync(path('pairs.ndjson'), pairs.map((row) => `${JSON.stringify(row)}\n`).join(''));

function makeAdapter(name: string, config: object, shapes: Record<string, number[]>): string {
  mkdirSync(path(name));
  const whole = { peft_type: 'LORA', r: 2, lora_alpha: 4, init_lora_weights: true, ...config };
  writeFileSync(join(path(name), 'adapter_config.json'), JSON.stringify(whole));
  writeSafetensors(
    join(path(name), 'adapter_model.safetensors'),
    Object.entries(shapes).map(([key, shape], salt) => {
      const count = shape.reduce((product, side) => product * side, 1);
      const data = Float32Array.from({ length: count }, (_, i) => (((i * 7919 + salt * 104729) % 1009) - 504) / 5040);
      return { name: key, shape, data };
    }),
  );
  return path(name);
}

const lora = (module: string, rank: number, n: number, k: number) => ({
  [`${module}.lora_A.weight`]: [rank, k],
  [`${module}.lora_B.weight`]: [n, rank],
});
const projector = {
  [`${PROJECTOR}.linear_1.weight`]: [48, 40],
  [`${PROJECTOR}.linear_1.bias`]: [48],
  [`${PROJECTOR}.linear_2.weight`]: [48, 48],
  [`${PROJECTOR}.linear_2.bias`]: [48],
};

async function train(out: string, ...flags: string[]): Promise<string> {
  const rate = flags.includes('--lr') ? [] : ['--lr', '1e-2'];
  const fast = [...rate, '--lr-schedule', 'constant', '--warmup-ratio', '0', '--batch-size', '4', '--max-steps', '1'];
  const result = await runCli([
    'train',
    path('pairs.ndjson'),
    '--image-mode',
    'crop',
    ...fast,
    ...flags,
    '-o',
    path(out),
  ]);
  assert.equal(result.code, 0, result.stderr);
  return result.stderr;
}

const tensorsOf = (dir: string) => readSafetensors(join(dir, 'adapter_model.safetensors'));
const configOf = (dir: string) => JSON.parse(readFileSync(join(dir, 'adapter_config.json'), 'utf8'));

async function chosenSums(...flags: string[]): Promise<number[]> {
  const { code, stdout, stderr } = await runCli([
    'score',
    '-q',
    '--image-mode',
    'crop',
    ...flags,
    path('pairs.ndjson'),
  ]);
  assert.equal(code, 0, stderr);
  return stdout
    .split('\n')
    .filter(Boolean)
    .map((line) => JSON.parse(line).policy_chosen_logps as number);
}

/** Keys whose values differ between two adapters. */
function changed(before: string, after: string): string[] {
  const [old, now] = [tensorsOf(before), tensorsOf(after)];
  assert.deepEqual([...now.keys()].sort(), [...old.keys()].sort());
  return [...now.keys()].filter((key) => Buffer.compare(now.get(key)!, old.get(key)!) !== 0);
}

test('patterns and a saved projector are trained on; tower, head and saved norm stay and are written along', {
  skip,
}, async () => {
  const settings = {
    target_modules: ['q_proj', 'lm_head'],
    rank_pattern: { 'language_model.layers.0.self_attn.q_proj': 3 },
    alpha_pattern: { 'layers.1.self_attn.q_proj': 9 },
    modules_to_save: ['multi_modal_projector', 'layers.1.input_layernorm'],
  };
  const start = makeAdapter('start', settings, {
    ...lora(`${LAYER}.0.self_attn.q_proj`, 3, 48, 48),
    ...lora(`${LAYER}.1.self_attn.q_proj`, 2, 48, 48),
    ...lora(TOWER, 2, 40, 40),
    ...lora(`${ROOT}lm_head`, 2, 832, 48),
    ...projector,
    [`${LAYER}.1.input_layernorm.weight`]: [48],
  });
  const stderr = await train('onward', '--model', MODEL, '--init-adapter', start);
  assert.match(stderr, /5 of its tensors are not trained/);
  const trained = changed(start, path('onward'));
  assert.deepEqual(
    trained.filter((key) => key.includes('vision_tower') || key.includes('lm_head') || key.includes('norm')),
    [],
  );
  assert.equal(trained.length, 4 + 4);
  const config = configOf(path('onward'));
  for (const [key, value] of Object.entries(settings)) assert.deepEqual(config[key], value, key);
  // What was written is what was trained: the next run starts where this one ended.
  const [ended, unchanged] = [
    await chosenSums('--model', MODEL, '--adapter', path('onward')),
    await chosenSums('--model', MODEL, '--adapter', start),
  ];
  assert.ok(ended.some((sum, i) => Math.abs(sum - unchanged[i]!) > 1e-3));
  await train('again', '--model', MODEL, '--init-adapter', path('onward'), '--lr', '1e-12');
  const again = await chosenSums('--model', MODEL, '--adapter', path('again'));
  again.forEach((sum, i) => {
    assert.ok(Math.abs(sum - ended[i]!) < 1e-4, `${sum} ${ended[i]}`);
  });
});

test('an adapter with older names is trained and written with current names', { skip }, async () => {
  const old = `${ROOT}language_model.model.layers.2.mlp.down_proj`;
  const start = makeAdapter('older', { target_modules: ['down_proj'] }, lora(old, 2, 48, 104));
  await train('newer', '--model', MODEL, '--init-adapter', start);
  const names = [...tensorsOf(path('newer')).keys()];
  assert.deepEqual(names.sort(), Object.keys(lora(`${LAYER}.2.mlp.down_proj`, 2, 48, 104)).sort());
});

test('the error for an adapter that cannot be continued names the reason', { skip }, async () => {
  const cases: [config: object, shapes: Record<string, number[]>, flags: string[], message: RegExp][] = [
    [
      { target_modules: ['lm_head'] },
      lora(`${ROOT}lm_head`, 2, 832, 48),
      [],
      /expected LoRA on the language model's linears/,
    ],
    [
      { target_modules: ['q_proj', 'linear_1'] },
      { ...lora(`${LAYER}.0.self_attn.q_proj`, 2, 48, 48), ...lora(`${PROJECTOR}.linear_1`, 2, 48, 40) },
      ['--train-projector'],
      /linear_1\.lora_A\.weight: expected no LoRA on a projector that is trained itself/,
    ],
    [
      { init_lora_weights: 'pissa', target_modules: ['q_proj'] },
      lora(`${LAYER}.0.self_attn.q_proj`, 2, 48, 48),
      [],
      /init_lora_weights/,
    ],
    [{ use_dora: true, target_modules: ['q_proj'] }, lora(`${LAYER}.0.self_attn.q_proj`, 2, 48, 48), [], /use_dora/],
  ];
  for (const [index, [config, shapes, flags, message]] of cases.entries()) {
    const start = makeAdapter(`wrong-${index}`, config, shapes);
    const out = ['-o', path(`wrong-out-${index}`)];
    const { code, stderr } = await runCli([
      'train',
      path('pairs.ndjson'),
      '--model',
      MODEL,
      '--init-adapter',
      start,
      ...flags,
      ...out,
    ]);
    assert.notEqual(code, 0);
    assert.match(stderr, message);
  }
});

test('the projector alone: score, merge and a next run take what comes out', { skip }, async () => {
  await train('alone', '--model', MODEL, '--lora-r', '0', '--train-projector', '-q');
  const { r, target_modules, modules_to_save } = configOf(path('alone'));
  assert.deepEqual([r, target_modules, modules_to_save], [1, 'dummy-target-modules', ['multi_modal_projector']]);
  const [base, scored] = [
    await chosenSums('--model', MODEL),
    await chosenSums('--model', MODEL, '--adapter', path('alone')),
  ];
  assert.ok(scored.some((sum, i) => Math.abs(sum - base[i]!) > 1e-3));
  const merge = ['--model', MODEL, '--adapter', path('alone'), '--dtype', 'f32', '-o', path('alone-merged')];
  assert.equal((await runCli(['export', 'merge', ...merge])).code, 0);
  assert.deepEqual(await chosenSums('--model', path('alone-merged')), scored);
  await train('alone-next', '--model', MODEL, '--init-adapter', path('alone'), '-q');
  assert.equal(changed(path('alone'), path('alone-next')).length, 4);
});

test('gradients flow through LoRA on the head as through the merged head', { skip }, async () => {
  const head = makeAdapter('head', { target_modules: ['lm_head'], lora_alpha: 40 }, lora(`${ROOT}lm_head`, 2, 832, 48));
  const merge = ['--model', MODEL, '--adapter', head, '--dtype', 'f32', '-o', path('head-merged')];
  assert.equal((await runCli(['export', 'merge', ...merge])).code, 0);
  const gradients = async (name: string, ...flags: string[]) => {
    await train(name, ...flags, '--method', 'sft', '--lora-r', '2', '--save-gradients', path(`${name}.grad`), '-q');
    return readSafetensors(path(`${name}.grad`));
  };
  writeFileSync(
    path('pairs.ndjson'),
    pairs.map(({ chosen, rejected: _, ...row }) => `${JSON.stringify({ ...row, response: chosen })}\n`).join(''),
  );
  const merged = await gradients('through-merged', '--model', path('head-merged'));
  const adapted = await gradients('through-adapter', '--model', MODEL, '--adapter', head);
  assert.deepEqual([...adapted.keys()].sort(), [...merged.keys()].sort());
  const floats = (bytes: Buffer) =>
    new Float32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength));
  for (const [name, bytes] of adapted) {
    const [got, expected] = [floats(bytes), floats(merged.get(name)!)];
    const norm = Math.hypot(...expected);
    const distance = Math.hypot(...expected.map((value, i) => value - got[i]!));
    assert.ok(distance <= 2e-4 * norm, `${name}: ${distance} of ${norm}`);
  }
});
