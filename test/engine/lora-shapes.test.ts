// SPDX-License-Identifier: Apache-2.0
// Targets and patterns as peft reads them.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { loraShapes } from '../../src/engine/lora-shapes.ts';

const names = ['self_attn.q_proj', 'self_attn.v_proj', 'mlp.up_proj'];
const paths = [0, 1, 11].flatMap((layer) => names.map((name) => `model.language_model.layers.${layer}.${name}`));
const shapes = (loraTargets: string[], ...loraPatterns: { regex: string; r: number; alpha?: number }[]) =>
  loraShapes(paths, { loraR: 8, loraAlpha: 16, loraTargets, loraPatterns });

test('names, and a regular expression of the whole path', () => {
  assert.deepEqual(shapes(['v_proj']).loraRanks, [0, 8, 0, 0, 8, 0, 0, 8, 0]);
  assert.deepEqual(shapes(['/.*\\.layers\\.1\\..*_proj/']).loraRanks, [0, 0, 0, 8, 8, 8, 0, 0, 0]);
  assert.throws(
    () => shapes(['/layers\\.1\\..*/']),
    /--lora-targets: expected a match for linear layers.*, got \/layers/,
  );
  assert.throws(() => shapes(['/(/']), /--lora-targets: expected a regular expression/);
});

test('a pattern is of the end of a path from a dot on; the first that matches counts; without alpha it is that of all', () => {
  const { loraRanks, loraAlphas } = shapes(
    ['q_proj', 'up_proj'],
    { regex: 'layers\\.1\\.mlp\\.up_proj', r: 2, alpha: 5 },
    { regex: 'up_proj', r: 4 },
  );
  assert.deepEqual(loraRanks, [8, 0, 4, 8, 0, 2, 8, 0, 4]);
  assert.deepEqual(loraAlphas, [16, 0, 16, 16, 0, 5, 16, 0, 16]);
  assert.throws(() => shapes(['q_proj'], { regex: 'v_proj', r: 4 }), /--lora-pattern: expected the end of a target's/);
  assert.throws(() => shapes(['q_proj'], { regex: '_proj', r: 4 }), /got _proj/);
});
