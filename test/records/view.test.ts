// SPDX-License-Identifier: Apache-2.0
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { RunError } from '../../src/records/error.ts';
import type { VprefRecord } from '../../src/records/record.ts';
import { viewInputs } from '../../src/records/view.ts';

const record: VprefRecord = {
  id: 'a',
  images: ['a.jpg'],
  prompt: 'p',
  views: [
    { name: 'flip', ops: [{ op: 'hflip' }], seed: 0, images: ['views/a.png'] },
    { name: 'diffusion', ops: [{ op: 'diffusion', step: 800, seed: 2 ** 40 }], seed: 0 },
    { name: 'both', ops: [{ op: 'hflip' }, { op: 'diffusion', step: 500, seed: 3 }], seed: 0, images: ['views/a.png'] },
    { name: 'bad', ops: [{ op: 'diffusion', step: 1000, seed: 3 }], seed: 0 },
    { name: 'no-seed', ops: [{ op: 'diffusion', step: 10 }], seed: 0 },
  ],
};

test('a view gives its image files, else the clean ones, and its noise', () => {
  assert.deepEqual(viewInputs(record, 'original'), { images: ['a.jpg'] });
  assert.deepEqual(viewInputs(record, 'flip'), { images: ['views/a.png'] });
  assert.deepEqual(viewInputs(record, 'diffusion'), { images: ['a.jpg'], noise: { step: 800, seed: 2 ** 40 } });
  assert.deepEqual(viewInputs(record, 'both'), { images: ['views/a.png'], noise: { step: 500, seed: 3 } });
});

test('a missing view, or noise without a recipe, is an error that names it', () => {
  const refused: [name: string, message: RegExp][] = [
    ['moco', /^views: expected one named "moco", got original flip diffusion both bad no-seed$/],
    ['bad', /^views: bad: expected diffusion with step in 0..999 and a seed, got .*1000/],
    ['no-seed', /^views: no-seed: expected diffusion with step/],
  ];
  for (const [name, message] of refused) {
    assert.throws(
      () => viewInputs(record, name),
      (error) => error instanceof RunError && message.test(error.message),
    );
  }
});
