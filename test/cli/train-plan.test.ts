// SPDX-License-Identifier: Apache-2.0
// Covers src/cli/train-flags.ts
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type TrainFlags, trainFlags } from '../../src/cli/train-flags.ts';
import { trainPlan } from '../../src/cli/train-plan.ts';
import { loadBinding } from '../../src/engine/binding.ts';
import { DEMO, openFixture, withoutEngine } from '../support/native.ts';

const defaults = Object.entries(trainFlags).map(([name, flag]) => [name, 'default' in flag ? flag.default : undefined]);
const flags = { ...Object.fromEntries(defaults), output: 'runs/x', 'lora-targets': 'q_proj, v_proj' } as TrainFlags;
const plan = (changes: Partial<TrainFlags>, ...given: string[]) =>
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

test('flags that exclude each other are refused', () => {
  assert.throws(() => plan({ output: undefined }), /-o: expected the directory/);
  assert.throws(
    () => plan({ 'train-language-model': true, 'lora-r': 8 }),
    /--train-language-model: expected no --lora-r, /,
  );
  assert.throws(() => plan({ 'init-adapter': 'a', 'lora-r': 8 }), /--lora-r: not allowed with --init-adapter/);
  const needsAdapter = /--lora-dropout: needs an adapter to train/;
  assert.throws(() => plan({ 'train-language-model': true, 'lora-dropout': 0.1 }), needsAdapter);
  assert.throws(() => plan({ 'lora-r': 0, 'train-projector': true, 'lora-dropout': 0.1 }), needsAdapter);
  assert.equal(plan({ 'init-adapter': 'a', 'lora-dropout': 0.1 }).settings.loraDropout, 0.1);
  assert.throws(() => plan({ 'sample-every': 2 }), /--sample-every: expected --sample-prompts FILE with it/);
  assert.throws(() => plan({ method: 'sft', loss: 'ipo' }), /--loss: expected sft/);
  assert.throws(() => plan({ 'loss-on': 'all' }), /--loss-on all: expected --method sft, got dpo/);
});

test('a number that has to be above a bound is not at it', async () => {
  const parse = async (name: 'epochs' | 'lora-alpha', text: string) =>
    trainFlags[name].parse(text, {} as never, { ...trainFlags[name], name } as never);
  assert.equal(await parse('epochs', '0.5'), 0.5);
  for (const text of ['0', '-1', 'x', ''])
    await assert.rejects(parse('lora-alpha', text), /--lora-alpha: expected a number above 0, got/);
});

test('the engine reads every setting that it is given', { skip: withoutEngine }, async () => {
  const { policy } = await openFixture(DEMO);
  const read: unknown[] = [];
  const settings = new Proxy(
    {
      ...plan({ 'lora-r': 2 }).settings,
      totalSteps: 10,
      memoryBudget: 0,
      numRanks: 1,
      zero: 0,
      loraRanks: [],
      loraAlphas: [],
    },
    {
      get(target, name) {
        read.push(name);
        return Reflect.get(target, name);
      },
    },
  );
  await loadBinding('cpu').binding.Trainer.create(policy.native, settings, '');
  assert.deepEqual(read.sort(), Object.keys(settings).sort());
});
