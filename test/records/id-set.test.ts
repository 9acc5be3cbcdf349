// SPDX-License-Identifier: Apache-2.0
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { IdSet } from '../../src/records/id-set.ts';

test('every id is new once, through many growths', () => {
  const ids = new IdSet();
  const names = Array.from({ length: 200_000 }, (_, i) => `llava-${i}`);
  assert.ok(names.every((name) => ids.add(name)));
  assert.ok(names.every((name) => !ids.add(name)));
});

test('ids that differ by order, case or length differ', () => {
  const ids = new IdSet();
  for (const id of ['', 'a', 'A', 'ab', 'ba', 'a#1', 'a#10', '\u00e9', 'e\u0301', '0', '00'])
    assert.ok(ids.add(id), id);
});
