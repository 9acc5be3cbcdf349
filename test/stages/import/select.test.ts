// SPDX-License-Identifier: Apache-2.0
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { importItems } from '../../support/import-stage.ts';

const items = Array.from({ length: 60 }, (_, k) => ({
  ...{ id: `i${k}`, image: `${k % 2 === 0 ? 'coco' : 'vg'}/${k}.jpg` },
  conversations: [
    { from: 'human', value: 'q1' },
    { from: 'gpt', value: 'a1' },
    { from: 'human', value: 'q2' },
    { from: 'gpt', value: 'a2' },
  ],
}));

async function idsOf(
  count: number,
  { seed = 0, turns, source }: { seed?: number; turns?: number; source?: string } = {},
) {
  const limits = [{ count, ...(source !== undefined && { source }) }];
  const selection = { limits, limitDialogues: false, seed, ...(turns !== undefined && { turns }) };
  const { records, errors } = await importItems('llava', items, { selection });
  assert.deepEqual(errors, []);
  return records.map(({ id }) => id);
}

test('what a limit draws is part of what a larger one draws with the same seed: runs over data scale are nested', async () => {
  for (const setting of [{}, { seed: 7 }, { turns: 2 }]) {
    let smaller: string[] = [];
    for (const count of [4, 8, 16, 32]) {
      const ids = await idsOf(count, setting);
      assert.equal(ids.length, count);
      assert.ok(smaller.every((id) => ids.includes(id)));
      smaller = ids;
    }
  }
  const [few, many] = [await idsOf(3, { source: 'vg' }), await idsOf(12, { source: 'vg' })];
  const ofSource = (ids: string[]) => ids.filter((id) => Number(id.slice(1)) % 2 === 1);
  assert.deepEqual([ofSource(few).length, ofSource(many).length], [3, 12]);
  assert.ok(ofSource(few).every((id) => many.includes(id)));
  assert.notDeepEqual(await idsOf(8, { seed: 1 }), await idsOf(8, { seed: 2 }));
});
