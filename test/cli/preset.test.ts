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
