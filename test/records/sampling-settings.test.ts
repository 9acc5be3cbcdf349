// SPDX-License-Identifier: Apache-2.0
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { sampleFlags } from '../../src/cli/sample-options.ts';
import {
  recordedSettings,
  SAMPLING_DEFAULTS,
  SAMPLING_SETTINGS,
  samplingSettings,
} from '../../src/records/sampling-settings.ts';

test('every setting has a flag with its default', () => {
  for (const { flag, name } of SAMPLING_SETTINGS)
    assert.equal(sampleFlags[flag].default, SAMPLING_DEFAULTS[name], flag);
});

test('the settings alone are taken from an object with other members', () => {
  assert.deepEqual(samplingSettings({ ...SAMPLING_DEFAULTS, ...{ seed: 1, stop: [] } }), SAMPLING_DEFAULTS);
});

test('a record always has the settings of the distribution, and the others where they are set', () => {
  const usual = { temperature: 0, top_p: 1, top_k: 0, max_new_tokens: 512 };
  assert.deepEqual(recordedSettings({ ...SAMPLING_DEFAULTS, numSamples: 4 }), usual);
  assert.deepEqual(recordedSettings({ ...SAMPLING_DEFAULTS, numBeams: 3, repetitionMaxPeriod: 8 }), {
    ...usual,
    beams: 3,
    stop_repeats: 8,
  });
});
