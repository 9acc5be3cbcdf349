// SPDX-License-Identifier: Apache-2.0
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { count } from '../../src/records/count.ts';

test('one takes the singular, every other number the plural', () => {
  assert.equal(count(1, 'record'), '1 record');
  assert.equal(count(0, 'record'), '0 records');
  assert.equal(count(2, 'record'), '2 records');
});

test('a verb and an irregular plural are given in both forms', () => {
  assert.equal(count(1, 'record has', 'records have'), '1 record has');
  assert.equal(count(3, 'record has', 'records have'), '3 records have');
  assert.equal(count(2, 'entry', 'entries'), '2 entries');
});
