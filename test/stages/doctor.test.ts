// SPDX-License-Identifier: Apache-2.0
import assert from 'node:assert/strict';
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
// Covers src/stages/doctor.ts src/stages/doctor/check.ts src/stages/doctor/examine-machine.ts src/stages/doctor/examine-images.ts src/stages/doctor/examine-step.ts
import { withoutEngine } from '../support/native.ts';
import { runCli } from '../support/run-cli.ts';

test('doctor prints one row per check, with a remedy if it fails', async () => {
  const { code, stdout, stderr } = await runCli(['doctor']);
  assert.deepEqual([code, stderr], [0, '']);
  const checks = stdout
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line));
  for (const { check, ok, detail, remedy } of checks) {
    assert.equal(typeof check, 'string');
    assert.equal(typeof detail, 'string');
    assert.equal(ok ? 'undefined' : 'string', typeof remedy, check);
  }
  const node = checks.find(({ check }) => check === 'node');
  assert.deepEqual([node.ok, node.detail], [true, process.versions.node]);
  assert.ok(checks.some(({ check }) => check === 'memory'));
});

test('doctor finds NaN in weights that no forward pass reads', { skip: withoutEngine }, async () => {
  const dir = mkdtempSync(join(tmpdir(), 'vpref-doctor-'));
  try {
    cpSync('fixtures/tiny-mha', dir, { recursive: true });
    const finite = async () => {
      const { code, stdout } = await runCli(['doctor', '--model', dir]);
      const rows = stdout.trimEnd().split('\n');
      return { code, row: rows.map((line) => JSON.parse(line)).find(({ check }) => check === 'finite') };
    };
    const whole = await finite();
    assert.deepEqual([whole.code, whole.row.ok], [0, true]);
    const path = join(dir, 'model.safetensors');
    const bytes = readFileSync(path);
    const begin = 8 + Number(bytes.readBigUInt64LE(0));
    const header = JSON.parse(bytes.toString('utf8', 8, begin));
    const name = Object.keys(header).find((key) => key.endsWith('post_layernorm.bias'))!;
    bytes.writeFloatLE(Number.NaN, begin + header[name].data_offsets[0]);
    writeFileSync(path, bytes);
    const broken = await finite();
    assert.deepEqual([broken.code, broken.row.ok], [1, false]);
    assert.match(broken.row.detail, /post_layernorm\.bias: 1 NaN, 0 infinite/);
  } finally {
    rmSync(dir, { recursive: true });
  }
});

test('doctor prints the planned memory besides the weights', { skip: withoutEngine }, async () => {
  const { code, stdout } = await runCli(['doctor', '--model', 'fixtures/tiny-text']);
  assert.equal(code, 0);
  const rows = stdout.trimEnd().split('\n');
  const { detail } = rows.map((line) => JSON.parse(line)).find(({ check }) => check === 'weights');
  assert.match(detail, /^weights [\d.]+ GiB of [\d.]+ GiB; .*KV cache: [1-9]\d* MiB for \d+ rows/);
  assert.match(detail, /step arena: [1-9]\d* MiB for \d+ rows of f32/);
});

test('doctor prints the memory of a training step and the features that are not supported', {
  skip: withoutEngine,
}, async () => {
  const run = async (...flags: string[]) => {
    const { code, stdout, stderr } = await runCli(['doctor', '--model', ...flags]);
    const rows = stdout.split('\n').filter(Boolean);
    const detail = (name: string) => rows.map((line) => JSON.parse(line)).find(({ check }) => check === name)?.detail;
    return { code, stderr, step: detail('step') as string, limits: detail('limits') as string };
  };
  const activations = ({ step }: { step: string }) => {
    const [, value, unit] = /activations ([\d.]+) (KiB|MiB)/.exec(step)!;
    return Number(value) * (unit === 'MiB' ? 1024 : 1);
  };
  const picture = ['--image', 'fixtures/families/images/big.png'];
  const qwen = await run('fixtures/families/qwen2_5_vl/ckpt', ...picture);
  assert.match(qwen.step, /^one pair, a prompt of 80 tokens \(16 of a picture\), two responses of 60, LoRA rank 128: /);
  assert.match(qwen.limits, /video is not supported/);
  const longer = ['--prompt-tokens', '300', '--response-tokens', '90', '--lora-r', '4'];
  const other = await run('fixtures/families/qwen2_5_vl/ckpt', ...picture, ...longer);
  assert.match(other.step, /a prompt of 300 tokens \(16 of a picture\), two responses of 90, LoRA rank 4: /);
  assert.ok(activations(other) > activations(qwen));
  assert.match((await run('fixtures/tiny-text')).step, /a prompt of 64 tokens without a picture/);
  // LLaVA's pictures all take as many.
  const short = await run('fixtures/tiny-mha', '--prompt-tokens', '16');
  assert.equal(short.code, 2);
  assert.match(short.stderr, /--prompt-tokens: expected more than the 16 of the image, got 16/);
  const alone = await runCli(['doctor', '--lora-r', '4']);
  assert.match(alone.stderr, /--lora-r: expected --model with it, got none/);
});

test('doctor prints the sizes and tokens of images', { skip: withoutEngine }, async () => {
  const run = async (...flags: string[]) => {
    const { code, stdout, stderr } = await runCli(['doctor', '--model', 'fixtures/tiny-mha', ...flags]);
    const rows = stdout
      .split('\n')
      .filter(Boolean)
      .map((line) => JSON.parse(line) as { check: string; detail: string });
    const details = rows.filter(({ check }) => check.startsWith('image')).map(({ detail }) => detail);
    return { code, stderr, details };
  };
  const files = ['fixtures/images/wide.png', 'fixtures/images/absent.png'];
  const { code, details } = await run('--image', files[0]!, '--image', files[1]!, '--image-mode', 'crop');
  assert.equal(code, 1);
  assert.deepEqual(details.slice(0, 2), [
    '56 x 56, image mode crop, 16 tokens each',
    'fixtures/images/wide.png: 240 x 9 pixels become 56 x 56 (crop): 16 image tokens',
  ]);
  assert.match(details[2]!, /absent\.png: expected .*, got no such file/);
  const limited = await run('--max-pixels', '900');
  assert.deepEqual([limited.code, limited.stderr.includes('--max-pixels: llava resizes')], [2, true]);
  const alone = await runCli(['doctor', '--image', files[0]!]);
  assert.deepEqual([alone.code, alone.stderr.includes('--image: expected --model with it')], [2, true]);
});

test('doctor names an unsupported family, and an unsupported processor setting', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'vpref-doctor-'));
  try {
    cpSync('fixtures/families/qwen3_vl/ckpt', dir, { recursive: true });
    const config = JSON.parse(readFileSync(join(dir, 'config.json'), 'utf8'));
    const last = async () =>
      JSON.parse((await runCli(['doctor', '--model', dir])).stdout.trimEnd().split('\n').at(-1)!);
    writeFileSync(join(dir, 'config.json'), JSON.stringify({ ...config, model_type: 'qwen3_vl_moe' }));
    const { check, ok, detail } = await last();
    assert.deepEqual([check, ok], ['family', false]);
    assert.match(detail, /got "qwen3_vl_moe"; the nearest is qwen3_vl \(its dense models\); `sample --endpoint URL`/);
    writeFileSync(join(dir, 'config.json'), JSON.stringify(config));
    const processor = JSON.parse(readFileSync(join(dir, 'preprocessor_config.json'), 'utf8'));
    writeFileSync(join(dir, 'preprocessor_config.json'), JSON.stringify({ ...processor, do_center_crop: true }));
    assert.match((await last()).detail, /image processor: do_center_crop: expected false, got true/);
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
});
