// SPDX-License-Identifier: Apache-2.0
// Covers src/engine/adapter-config.ts
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

test("--lora-targets stands at all of the engine's linears", { skip: withoutEngine }, () => {
  assert.deepEqual(Train.flags['lora-targets'].default, loadBinding('auto').binding.linears().join(','));
});

test("an adapter's rank and scale, peft's defaults where it has none", async () => {
  const shape = { loraR: 4, loraAlpha: 8, rslora: false, loraTargets: [] };
  assert.deepEqual(await readAdapterShape('fixtures/golden/train/adapter'), shape);
  config({ use_rslora: true, target_modules: ['v_proj', 'q_proj'] });
  assert.deepEqual(await readAdapterShape(folder), { ...shape, loraR: 8, rslora: true });
  config({ r: '16', lora_alpha: 16 });
  await assert.rejects(readAdapterShape(folder), /expected numbers r and lora_alpha/);
  await assert.rejects(readAdapterShape(join(folder, 'missing')), /expected a file, got none/);
});

test('what a loss reads', { skip: withoutEngine }, async () => {
  const fields = async (loss: string) => {
    const { hyperparameters: _, ignoresLabel: __, ...needs } = await lossNeeds(loss);
    return Object.entries(needs).flatMap(([name, needed]) => (needed ? [name] : []));
  };
  assert.deepEqual(await fields('sft'), []);
  assert.deepEqual(await fields('sigmoid:1,sft:0.1'), ['reference', 'rejected']);
  assert.deepEqual(await fields('orpo'), ['rejected']);
  assert.deepEqual(await fields('mdpo'), ['reference', 'rejected', 'rejectedImages']);
  assert.deepEqual(await fields('kto'), ['reference', 'label', 'referencePoint']);
  assert.deepEqual(await fields('bco'), ['reference', 'rejectedOrLabel']);
  assert.deepEqual(await fields('sigmoid:0.8,bco:0.2,sft:1'), ['reference', 'rejected']);
  assert.deepEqual(await fields('bco,sft:0.1'), ['reference', 'rejected']);
  for (const [loss, ignores] of [
    ['sft', true],
    ['kto:1,sft:0.1', true],
    ['kto', false],
    ['bco', false],
  ] as const)
    assert.equal((await lossNeeds(loss)).ignoresLabel, ignores, loss);
  await assert.rejects(lossNeeds('dpo'), /loss: expected one of/);
});
