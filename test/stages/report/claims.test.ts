// SPDX-License-Identifier: Apache-2.0
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ClaimSection } from '../../../src/stages/report/claims.ts';
import { ImageList } from '../../../src/stages/report/images.ts';

test('responses with checked claims, doubtful ones marked; pairs show their own', () => {
  const section = new ClaimSection(1, new ImageList());
  const record = {
    ...{ id: 'a', prompt: 'What?', images: ['i.png'] },
    responses: [{ text: 'A cat. A dog.', view: 'original' }, { text: 'Nothing.' }],
    annotations: [
      {
        ...{ guide: 'claims', judge: 'local:m', run: 0, outcome: 'ok' as const },
        claims: [
          [
            { text: 'A cat', p_yes: 0.5, mass: 1 },
            { text: 'A dog', p_yes: 0.4, mass: 1 },
          ],
          [],
        ],
      },
    ],
  };
  section.take('run', { ...record, chosen: 'A cat. A dog.', rejected: 'Nothing.' });
  section.take('run', { ...record, annotations: [] });
  section.take('run', record);
  section.take('run', record);
  assert.deepEqual(section.data(), [
    {
      ...{ id: 'a', run: 'run', prompt: 'What?', images: [0] },
      answers: [
        { text: 'A cat. A dog.', name: 'original', numClaims: 2, doubtful: [{ text: 'A dog', pYes: 0.4 }] },
        { text: 'Nothing.', name: '', numClaims: 0, doubtful: [] },
      ],
    },
  ]);
  assert.equal(section.numLeftOut, 1);
});
