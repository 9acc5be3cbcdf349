// SPDX-License-Identifier: Apache-2.0
// Runs every folder of test/cases; scripts/update-cases.ts writes what a case gives now.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { listCases, runCase } from './support/case.ts';

describe('cases', { concurrency: 2 }, () => {
  for (const name of listCases())
    test(name, async () => {
      const { actual, expected } = await runCase(name);
      assert.deepEqual(actual, expected);
    });
});
