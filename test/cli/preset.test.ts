// SPDX-License-Identifier: Apache-2.0
// Covers src/cli/presets.ts
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { withPreset } from '../../src/cli/preset.ts';

test('a preset fills flags that were not given, and those alone', () => {
  const none = { preset: undefined, faithful: false, rule: 'kto' };
  assert.equal(withPreset(none, 'pair'), none);
  const dpo = { preset: 'li2024-dpo', faithful: false, rule: undefined, margin: undefined };
  assert.deepEqual(withPreset(dpo, 'pair'), { preset: 'li2024-dpo', faithful: false, rule: 'score', margin: 2 });
  assert.equal(withPreset({ ...dpo, margin: 3 as never }, 'pair').margin, 3);
  assert.equal('max-pairs' in withPreset({ preset: 'seva-7b', faithful: false }, 'pair'), false);
  assert.equal('max-pairs' in withPreset({ preset: 'seva-7b', faithful: true }, 'pair'), true);
  assert.equal('max-pairs' in withPreset({ preset: 'seva-13b', faithful: true }, 'pair'), false);
});

test("continued SFT with LLaVA-1.5's settings: all of the language model, or an adapter", () => {
  const train = (preset: string) => withPreset({ preset, faithful: false } as Record<string, unknown>, 'train');
  const shared = {
    method: 'sft',
    'loss-on': 'all',
    epochs: 1,
    'batch-size': 128,
    'warmup-ratio': 0.03,
    'train-projector': true,
  };
  const full = train('llava-sft');
  const lora = train('llava-sft-lora');
  for (const [name, value] of Object.entries(shared)) assert.deepEqual([full[name], lora[name]], [value, value], name);
  assert.deepEqual([full['train-language-model'], full.lr, full['projector-lr']], [true, 2e-5, undefined]);
  assert.deepEqual([lora['lora-r'], lora['lora-alpha'], lora.lr, lora['projector-lr']], [128, 256, 2e-4, 2e-5]);
  assert.equal(withPreset({ preset: 'llava-sft', from: undefined, faithful: false }, 'pair').from, 'reference');
});
