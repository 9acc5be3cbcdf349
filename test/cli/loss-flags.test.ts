// SPDX-License-Identifier: Apache-2.0
// The flags of losses against the engine's own tables.
// Covers src/engine/losses.ts
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { lossFlags, lossOptions } from '../../src/cli/loss-flags.ts';
import { loadBinding } from '../../src/engine/binding.ts';
import { LOSSES } from '../../src/engine/losses.ts';
import { lossNeeds } from '../../src/engine/trainer.ts';

test('every loss of the engine is listed, and every listed one is known to it', async () => {
  assert.deepEqual(
    LOSSES,
    loadBinding('cpu')
      .binding.losses()
      .map(({ name }) => name),
  );
  for (const name of LOSSES) assert.ok(Array.isArray((await lossNeeds(name)).hyperparameters), name);
});

test('every hyperparameter that a loss reads is a flag, and every flag is read by some loss', async () => {
  const read = new Set<string>();
  for (const name of LOSSES) for (const option of (await lossNeeds(name)).hyperparameters) read.add(option);
  assert.deepEqual([...read].sort(), Object.keys(lossFlags).sort());
});

test('what a loss needs comes from its table', async () => {
  assert.deepEqual(await lossNeeds('kto'), {
    reference: true,
    rejected: false,
    rejectedImages: false,
    label: true,
    ignoresLabel: false,
    rejectedOrLabel: false,
    referencePoint: true,
    hyperparameters: ['beta', 'desirable-weight', 'undesirable-weight'],
  });
  assert.deepEqual((await lossNeeds('simpo:0.5,sft')).hyperparameters, ['beta', 'label-smoothing', 'simpo-gamma']);
});

test('only the flags of losses are handed on', () => {
  const values = Object.fromEntries(Object.keys(lossFlags).map((name, index) => [name, index]));
  const flags = { ...values, epochs: 3 } as unknown as Parameters<typeof lossOptions>[0];
  assert.deepEqual(lossOptions(flags), values);
});
