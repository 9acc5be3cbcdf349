// SPDX-License-Identifier: Apache-2.0
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import Train from '../../src/commands/train.ts';
import { loadBinding } from '../../src/engine/binding.ts';
import { lossNeeds, readAdapterShape } from '../../src/engine/trainer.ts';
import { withoutEngine } from '../support/native.ts';

const folder = mkdtempSync(join(tmpdir(), 'vpref-trainer-'));
after(() => rmSync(folder, { recursive: true, force: true }));
const config = (value: unknown) => writeFileSync(join(folder, 'adapter_config.json'), JSON.stringify(value));

test("an adapter's shape: rank, scale, targets as a list or a regular expression", {
  skip: withoutEngine,
}, async () => {
  const shape = await readAdapterShape('fixtures/golden/train/adapter');
  assert.deepEqual(shape.loraTargets, ['q_proj', 'k_proj', 'v_proj', 'o_proj', 'gate_proj', 'up_proj', 'down_proj']);
  assert.equal(shape.loraR, 4);
  assert.equal(shape.loraAlpha, 8);
  config({ r: 16, lora_alpha: 16, use_rslora: true, target_modules: ['v_proj', 'q_proj'] });
  assert.deepEqual(await readAdapterShape(folder), {
    loraR: 16,
    loraAlpha: 16,
    rslora: true,
    loraTargets: ['q_proj', 'v_proj'],
  });
});

test("--lora-targets stands at all of the engine's linears", { skip: withoutEngine }, () => {
  assert.deepEqual(Train.flags['lora-targets'].default, loadBinding('auto').binding.linears().join(','));
});

test('an adapter that cannot be gone on with is refused', async () => {
  config({ r: 16, lora_alpha: 16, target_modules: ['q_proj'], rank_pattern: { 'layers.0.q_proj': 4 } });
  await assert.rejects(readAdapterShape(folder), /rank_pattern: expected none/);
  config({ lora_alpha: 16 });
  await assert.rejects(readAdapterShape(folder), /expected numbers r and lora_alpha/);
  await assert.rejects(readAdapterShape(join(folder, 'missing')), /cannot be read/);
});

test('what a loss reads', { skip: withoutEngine }, async () => {
  const needs = { reference: false, rejected: false, rejectedImages: false, label: false };
  assert.deepEqual(await lossNeeds('sft'), needs);
  assert.deepEqual(await lossNeeds('sigmoid:1,sft:0.1'), { ...needs, reference: true, rejected: true });
  assert.deepEqual(await lossNeeds('orpo'), { ...needs, rejected: true });
  assert.deepEqual(await lossNeeds('mdpo'), { ...needs, reference: true, rejected: true, rejectedImages: true });
  assert.deepEqual(await lossNeeds('kto'), { ...needs, reference: true, label: true });
  await assert.rejects(lossNeeds('dpo'), /loss: expected one of/);
});
