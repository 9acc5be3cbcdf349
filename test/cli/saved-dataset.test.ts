// SPDX-License-Identifier: Apache-2.0
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { savedDatasetFiles } from '../../src/cli/saved-dataset.ts';

const FOLDER = 'fixtures/records/columns';

test('the shards of a saved data set, in order', () => {
  assert.deepEqual(savedDatasetFiles(`${FOLDER}/saved`), [
    `${FOLDER}/saved/data-00000-of-00002.arrow`,
    `${FOLDER}/saved/data-00001-of-00002.arrow`,
  ]);
  assert.deepEqual(savedDatasetFiles(`${FOLDER}/splits/test`), [`${FOLDER}/splits/test/data-00000-of-00001.arrow`]);
});

test('several splits, and other folders, are refused by name', () => {
  assert.throws(
    () => savedDatasetFiles(`${FOLDER}/splits`),
    /expected one split of a saved data set, got all of them: name .*splits\/train or .*splits\/test/,
  );
  assert.throws(() => savedDatasetFiles('fixtures'), /got a directory without it/);
});
