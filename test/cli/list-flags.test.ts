// SPDX-License-Identifier: Apache-2.0
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { checkOncePerSource, parseLimits, splitSource } from '../../src/cli/list-flags.ts';

test('limits: of one source, in all, and what is neither', () => {
  assert.deepEqual(parseLimits('--limit', ['textvqa=8000', '5']), [{ source: 'textvqa', count: 8000 }, { count: 5 }]);
  for (const text of ['x', 'a=', 'a=-1', 'a=1.5', '=3', ''])
    assert.throws(() => parseLimits('--limit', [text]), {
      message: `--limit: expected [SOURCE=]N, got ${JSON.stringify(text)}`,
    });
  assert.throws(() => parseLimits('--limit', ['a=1', 'a=2']), { message: '--limit: expected a once, got it twice' });
  assert.throws(() => parseLimits('--limit', ['1', '2']), {
    message: '--limit: expected a value for all once, got it twice',
  });
});

test('a source is what stands before the first equals sign', () => {
  assert.deepEqual(splitSource('coco=/data/a=b'), { key: 'coco', value: '/data/a=b' });
  assert.deepEqual(splitSource('/data'), { value: '/data' });
  assert.doesNotThrow(() => checkOncePerSource('--image-root', [{ source: 'a' }, {}, { source: 'b' }]));
});
