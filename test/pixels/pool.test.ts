// SPDX-License-Identifier: Apache-2.0
// Covers src/workers/pixel-worker.ts src/pixels/pixel-error.ts
import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { familyNamed } from '../../families/index.ts';
import { loadImage } from '../../src/pixels/decode.ts';
import { PixelError } from '../../src/pixels/pixel-error.ts';
import { createPixelPool } from '../../src/pixels/pool.ts';
import { RunError } from '../../src/records/error.ts';
import { squarePlan } from '../support/families.ts';
import { fixtureImage } from './golden.ts';

const plan = squarePlan('pad', 28, 28);
const llava = familyNamed('llava').vision!;
const modelType = 'llava';
const pool = createPixelPool(2);
after(() => pool.close());

test('model input from a worker equals model input made here, many at once', async () => {
  const names = [
    'photo.jpg',
    'wide.png',
    'tall.png',
    'rgba.png',
    'exif-6.jpg',
    'tiny.png',
    'gray.png',
    'transparent.gif',
  ];
  const inputs = await Promise.all(
    names.map((name) => pool.run('modelInput', { source: fixtureImage(name), modelType, plan })),
  );
  for (const [i, name] of names.entries()) {
    const image = await loadImage(fixtureImage(name));
    const { width, height } = image;
    assert.deepEqual(inputs[i], { height, width, crops: llava.crops(image, plan) }, name);
  }
});

test('a bad image fails its own job with what was expected and what came', async () => {
  const jobs = ['absent.png', 'photo.png', 'truncated.jpg'].map((name) =>
    pool.run('modelInput', { source: fixtureImage(name), modelType, plan }),
  );
  const [absent, photo, truncated] = await Promise.allSettled(jobs);
  assert.equal(photo!.status, 'fulfilled');
  for (const [outcome, got] of [
    [absent!, /^no such file$/],
    [truncated!, /^one that does not decode/],
  ] as const) {
    assert.ok(outcome.status === 'rejected' && outcome.reason instanceof PixelError);
    assert.match(outcome.reason.got, got);
  }
});

test('a bad recorded operation fails its job by name', async () => {
  const views = [{ name: 'v', ops: [{ op: 'rotate' }], hasFiles: true }];
  const job = pool.run('views', { id: 'a', images: [fixtureImage('photo.png')], views, imageDir: '/nonexistent' });
  await assert.rejects(
    job,
    (error) => error instanceof RunError && error.code === 'op' && /degrees/.test(error.message),
  );
});

test('an image whose square would not fit in memory is refused, not fatal', async () => {
  const wide = { width: 100_000, height: 1, data: new Uint8Array(300_000) };
  assert.throws(
    () => llava.crops(wide, plan),
    (error) => error instanceof RunError && /square/.test(error.message),
  );
});

test('a closed pool settles what was running', async () => {
  const closing = createPixelPool(1);
  const source = fixtureImage('wide.png');
  const job = closing.run('modelInput', {
    source,
    modelType,
    plan: squarePlan('pad', 1500, 1500),
  });
  const outcome = assert.rejects(job, (error) => error instanceof RunError && error.code === 'pixel-worker');
  await closing.close();
  await outcome;
});

test('close() rejects what still runs or waits, and late replies do not keep it from ending', async () => {
  for (let round = 0; round < 5; round++) {
    const closing = createPixelPool(2);
    const jobs = Array.from({ length: 6 }, () => closing.run('check', { source: fixtureImage('photo.jpg') }));
    const outcomes = Promise.allSettled(jobs);
    await Promise.race([jobs[0]!.catch(() => {}), new Promise((resolve) => setTimeout(resolve, round * 20))]);
    await closing.close();
    for (const outcome of await outcomes)
      if (outcome.status === 'rejected') assert.ok(outcome.reason instanceof RunError, String(outcome.reason));
    await assert.rejects(closing.run('check', { source: fixtureImage('photo.jpg') }), /workers were ended/);
  }
});
