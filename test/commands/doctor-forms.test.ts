// SPDX-License-Identifier: Apache-2.0
// In which form a model fits: the engine's plan of what a run would take, made of configuration and headers. Covers src/stages/doctor/examine-forms.ts src/engine/form-plan.ts native/addon/form_plan.cc
import assert from 'node:assert/strict';
import { cpSync, mkdirSync, readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { defaultSettings } from '../../src/cli/train-plan.ts';
import { planForm } from '../../src/engine/form-plan.ts';
import { loadPolicy } from '../../src/engine/policy.ts';
import { createTrainer } from '../../src/engine/trainer.ts';
import { demoModel } from '../support/demo-pairs.ts';
import { withoutEngine as skip } from '../support/native.ts';
import { runCli, temporaryFolder } from '../support/run-cli.ts';

const folder = temporaryFolder('doctor-forms');
interface Form {
  check: string;
  ok: boolean;
  detail: string;
  form: string;
  device: string;
  weight_bytes: number;
  sampling_bytes: number;
  step_bytes: number;
  memory_bytes: number;
}

async function doctor(model: string, ...flags: string[]) {
  const { code, stdout, stderr } = await runCli(['doctor', '--model', model, '--device', 'cpu', ...flags]);
  const rows = stdout
    .split('\n')
    .filter(Boolean)
    .map((line) => JSON.parse(line) as Form);
  return { code, stderr, checks: rows.map(({ check }) => check), forms: rows.filter(({ check }) => check === 'form') };
}

test('each form, for sampling and for a step, within what is free or asked for', { skip }, async () => {
  const { code, forms, checks } = await doctor(demoModel, '--headers-only', '--memory-limit', '24G');
  assert.equal(code, 0);
  assert.deepEqual(
    forms.map(({ form, device, ok, memory_bytes: memory }) => [form, device, ok, memory]),
    ['none', 'int8', 'nf4'].map((form) => [form, 'cpu', true, 24 * 2 ** 30]),
  );
  const [full, int8, nf4] = forms.map((form) => form.weight_bytes) as [number, number, number];
  assert.ok(nf4 < int8 && int8 < full, `${full} ${int8} ${nf4}`);
  for (const form of forms) assert.ok(form.weight_bytes < form.sampling_bytes && form.weight_bytes < form.step_bytes);
  assert.match(forms[2]!.detail, /^--quantize nf4, f32 on cpu, 24\.0 GiB of memory: weights .* sampling .* fits; DPO/);
  for (const reader of ['finite', 'forward', 'weights', 'step']) assert.ok(!checks.includes(reader), reader);
  assert.ok(checks.includes('limits'));
  const tight = await doctor(demoModel, '--headers-only', '--memory-limit', '16M');
  assert.equal(tight.code, 1);
  assert.ok(
    tight.forms.every(({ ok, detail }) => !ok && /sampling .* does not fit; DPO step .* does not fit/.test(detail)),
  );
  const whole = await doctor(demoModel);
  assert.equal(whole.forms.length, 3);
  assert.ok(whole.checks.includes('step') && whole.checks.indexOf('form') < whole.checks.indexOf('finite'));
});

test('a checkpoint that is packed has one form', { skip }, async () => {
  const { forms } = await doctor('fixtures/tiny-nf4', '--headers-only');
  assert.deepEqual(
    forms.map(({ form, ok }) => [form, ok]),
    [['none', true]],
  );
  assert.match(forms[0]!.detail, /^as stored \(nf4\), f32 on cpu.*; bitsandbytes before 0\.50 rounds these weights/);
});

test('what is planned is what a trainer plans, in every form', { skip }, async () => {
  const model = 'fixtures/tiny-text';
  const settings = { ...defaultSettings(4), recompute: 1 };
  const pair = (rows: number) => ({ rows, targets: 8, imageRows: 0, features: 0, pixelBytes: 0 });
  for (const quantize of ['none', 'int8', 'nf4'] as const) {
    const adapters: string[] = [];
    const options = { model, adapters, device: 'cpu' as const, dtype: 'auto' as const, quantize };
    const planned = (rows: number) =>
      planForm(options, 'cpu', { settings, pair: pair(rows), cachedTokens: rows, memoryLimit: 2 ** 34 });
    const policy = await loadPolicy({ ...options, tokenBytes: [] });
    try {
      const trainer = await createTrainer(policy, { settings, baseModel: '', memoryLimit: 2 ** 34 });
      const real = async (rows: number) => (await trainer.plan([[pair(rows)]])).activationBytes;
      // Beside what sampling takes, which is the same of both: the process itself may have grown in between.
      const step = (rows: number) => {
        const { stepBytes, samplingBytes } = planned(rows);
        return stepBytes - samplingBytes;
      };
      assert.equal(step(440) - step(40), (await real(440)) - (await real(40)), quantize);
    } finally {
      await policy.close();
    }
  }
});

test('no weight is read: a checkpoint of a gigabyte that is not there is planned', { skip }, async () => {
  const dir = join(folder, 'large');
  mkdirSync(dir);
  cpSync('fixtures/tiny-text', dir, { recursive: true });
  const config = JSON.parse(readFileSync(join(dir, 'config.json'), 'utf8'));
  const [hidden, inner, layers, vocab] = [1024, 2816, 16, config.vocab_size as number];
  const shape = { hidden_size: hidden, intermediate_size: inner, num_hidden_layers: layers, head_dim: 64 };
  const heads = { num_attention_heads: 16, num_key_value_heads: 16, attention_bias: false, tie_word_embeddings: false };
  writeFileSync(join(dir, 'config.json'), JSON.stringify({ ...config, ...shape, ...heads, dtype: 'bfloat16' }));
  const tensors: [string, number[]][] = [
    ['model.embed_tokens.weight', [vocab, hidden]],
    ['lm_head.weight', [vocab, hidden]],
    ['model.norm.weight', [hidden]],
  ];
  for (let i = 0; i < layers; i++) {
    const at = `model.layers.${i}`;
    for (const name of ['q', 'k', 'v', 'o']) tensors.push([`${at}.self_attn.${name}_proj.weight`, [hidden, hidden]]);
    for (const name of ['gate', 'up']) tensors.push([`${at}.mlp.${name}_proj.weight`, [inner, hidden]]);
    tensors.push([`${at}.mlp.down_proj.weight`, [hidden, inner]]);
    for (const name of ['input', 'post_attention']) tensors.push([`${at}.${name}_layernorm.weight`, [hidden]]);
  }
  const header: Record<string, object> = {};
  let end = 0;
  for (const [name, size] of tensors) {
    const begin = end;
    end += 2 * size.reduce((a, b) => a * b, 1);
    header[name] = { dtype: 'BF16', shape: size, data_offsets: [begin, end] };
  }
  let json = JSON.stringify(header);
  json += ' '.repeat((8 - (json.length % 8)) % 8);
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(json.length));
  const file = join(dir, 'model.safetensors');
  writeFileSync(file, Buffer.concat([length, Buffer.from(json)]));
  truncateSync(file, 8 + json.length + end); // holes: whoever reads them finds zeros
  const { code, forms } = await doctor(dir, '--headers-only', '--memory-limit', '8G', '--lora-r', '64');
  assert.equal(code, 0);
  const linear = layers * (4 * hidden * hidden + 3 * hidden * inner);
  const others = end - 2 * linear;
  const [full, int8, nf4] = forms.map((form) => form.weight_bytes) as [number, number, number];
  assert.equal(full, end);
  assert.ok(int8 > others + linear && int8 < others + 1.01 * linear, `${int8}`);
  assert.ok(nf4 > others + (4.5 / 8) * linear && nf4 < others + (4.51 / 8) * linear, `${nf4}`);
});
