// SPDX-License-Identifier: Apache-2.0
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type TrainFlagValues, trainPlan } from '../../src/cli/train-plan.ts';

const flags: TrainFlagValues = {
  output: 'runs/x',
  method: 'dpo',
  beta: 0.1,
  'label-smoothing': 0,
  'simpo-gamma': 0.5,
  epochs: 1,
  'cpo-alpha': 1,
  'orpo-lambda': 0.1,
  'desirable-weight': 1,
  'undesirable-weight': 1,
  'lora-r': 128,
  'lora-targets': 'q_proj, v_proj',
  'projector-lr': 0,
  'lr-schedule': 'cosine',
  'warmup-ratio': 0.03,
  'weight-decay': 0,
  'max-grad-norm': 1,
  'batch-size': 32,
  'loss-on': 'last',
  recompute: 'auto',
  'save-every': 0,
  'keep-checkpoints': 2,
  seed: 0,
};
const plan = (changes: Partial<TrainFlagValues>, ...given: string[]) =>
  trainPlan({ ...flags, ...changes }, new Set([...Object.keys(changes), ...given]));

test('defaults: DPO with LoRA, alpha twice the rank; SFT has its own learning rate', () => {
  const { settings, options } = plan({});
  assert.equal(settings.loss, 'sigmoid');
  assert.equal(settings.loraAlpha, 256);
  assert.deepEqual(settings.loraTargets, ['q_proj', 'v_proj']);
  assert.equal(settings.lr, 5e-6);
  assert.equal(settings.recompute, -1);
  assert.equal(options.shuffle, true);
  assert.equal(plan({ method: 'sft' }).settings.lr, 2e-4);
  assert.equal(plan({ method: 'sft' }).settings.loss, 'sft');
});

test('full fine-tuning has no adapter', () => {
  const { settings } = plan({ 'train-language-model': true });
  assert.equal(settings.loraR, 0);
  assert.equal(settings.trainLanguageModel, true);
});

test('what excludes each other is said', () => {
  assert.throws(() => plan({ output: undefined }), /-o: expected the directory/);
  assert.throws(() => plan({ 'train-language-model': true, 'lora-r': 8 }), /exclude each other/);
  assert.throws(() => plan({ 'init-adapter': 'a', 'lora-r': 8 }), /--lora-r: is what --init-adapter says/);
  assert.throws(() => plan({ method: 'sft', loss: 'ipo' }), /--loss: expected sft/);
  assert.throws(() => plan({ 'loss-on': 'all' }), /--loss-on all: is for --method sft/);
});
