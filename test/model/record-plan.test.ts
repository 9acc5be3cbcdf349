// SPDX-License-Identifier: Apache-2.0
// Image mode and pixel limits: what the command line, the record and the family say of them.
// Covers src/model/record-plan.ts src/model/images.ts src/cli/model-flags.ts
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ModelVision } from '../../src/model/context.ts';
import { chosenPlan, type ImageOptions, readFamilyPlan } from '../../src/model/images.ts';
import { preparePrompt } from '../../src/model/prompt.ts';
import { planRecord, provenance } from '../../src/model/record-plan.ts';
import { UsageError } from '../../src/records/error.ts';
import type { VprefRecord } from '../../src/records/record.ts';
import { fakeContext, rowOf } from '../support/fake-engine.ts';
import { FAMILY_FIXTURES } from '../support/families.ts';

const qwen = await readFamilyPlan(`${FAMILY_FIXTURES}/qwen2_vl/ckpt`);
const llava = await readFamilyPlan('fixtures/tiny-mha');
const text = await readFamilyPlan(`${FAMILY_FIXTURES}/qwen3/ckpt`);

/** A context with Qwen's image side. */
const contextOf = (options: Partial<ImageOptions> = {}, asked: ModelVision['asked'] = {}) =>
  fakeContext(undefined, {
    vision: {
      family: qwen.family.vision!,
      name: 'qwen2_vl',
      plan: chosenPlan(qwen, { mode: {}, ...options })!,
      asked,
      tokens: { id: 787, token: '<image>' },
    },
  });

async function recorded(record: Partial<VprefRecord>, context: Awaited<ReturnType<typeof contextOf>>) {
  const { image_mode, max_pixels, min_pixels } = provenance(await planRecord(rowOf(record), context), context);
  return [image_mode, max_pixels, min_pixels];
}

const MADE = { model: 'x', image_mode: 'native', max_pixels: 9000, min_pixels: 900 };

test('the record overrides the flags, and the flags override the checkpoint', async () => {
  assert.deepEqual(await recorded({}, await contextOf()), ['native', 15680, 4704]);
  const flags = await contextOf({ maxPixels: 12000 }, { maxPixels: 12000 });
  assert.deepEqual(await recorded({}, flags), ['native', 12000, 4704]);
  for (const record of [{ sampling: MADE }, { ref: MADE }, { ref: MADE, sampling: { ...MADE, max_pixels: 1 } }])
    assert.deepEqual(await recorded(record, await contextOf()), ['native', 9000, 900]);
  // A reference that says nothing of images leaves it to what sampled.
  assert.deepEqual(await recorded({ ref: { model: 'x' }, sampling: MADE }, await contextOf()), ['native', 9000, 900]);
});

test('a flag that contradicts the record is an error, an equal one is none', async () => {
  const flags = await contextOf({ maxPixels: 12000 }, { maxPixels: 12000 });
  const message = /test:1: sampling\.max_pixels: expected 12000 as --max-pixels says, got 9000/;
  await assert.rejects(recorded({ sampling: MADE }, flags), message);
  const equal = await contextOf({ maxPixels: 9000 }, { maxPixels: 9000 });
  assert.deepEqual(await recorded({ sampling: MADE }, equal), ['native', 9000, 900]);
});

test('a record of another family is an error that names both families', async () => {
  const padded = { model: 'x', image_mode: 'pad' };
  await assert.rejects(
    recorded({ sampling: padded }, await contextOf()),
    /sampling\.image_mode: expected native \(qwen2_vl\), got "pad"/,
  );
  const native = await fakeContext();
  await assert.rejects(
    recorded({ ref: MADE }, native),
    /ref\.image_mode: expected pad or crop \(llava\), got "native"/,
  );
  const limited = { ref: { model: 'x', image_mode: 'pad', max_pixels: 9000 } };
  await assert.rejects(recorded(limited, native), /ref\.max_pixels: expected nothing \(llava has no such limit\)/);
  const swapped = { ref: { ...MADE, max_pixels: 100 } };
  await assert.rejects(recorded(swapped, await contextOf()), /ref\.max_pixels: expected at least min_pixels \(900\)/);
});

test('flags that the family does not have are refused by name', () => {
  const cases: [typeof qwen, ImageOptions, RegExp][] = [
    [
      qwen,
      { mode: { asked: 'pad', otherwise: 'pad' } },
      /--image-mode: expected auto or native for qwen2_vl, got pad$/,
    ],
    [qwen, { mode: { otherwise: 'pad' } }, /got pad \(the preset sets it: give --image-mode auto\)/],
    [
      qwen,
      { mode: {}, maxPixels: 100 },
      /--max-pixels: expected at least 4704 \(--min-pixels, or the checkpoint's\), got 100/,
    ],
    [qwen, { mode: {}, minPixels: 20000 }, /--min-pixels: expected at most 15680/],
    [llava, { mode: { asked: 'native', otherwise: 'native' } }, /expected auto or pad or crop for llava/],
    [llava, { mode: {}, maxPixels: 100 }, /--max-pixels: llava resizes images to fixed sizes/],
    [text, { mode: {}, minPixels: 100 }, /--min-pixels: qwen3 is a text-only family/],
    [text, { mode: { asked: 'pad', otherwise: 'pad' } }, /--image-mode: qwen3 is a text-only family/],
  ];
  for (const [own, options, message] of cases)
    assert.throws(
      () => chosenPlan(own, options),
      (error) => error instanceof UsageError && message.test(error.message),
    );
  assert.equal(chosenPlan(text, { mode: { otherwise: 'pad' } }), undefined);
});

test('an image with very many tokens gives a note', async () => {
  const context = await fakeContext();
  const told: number[] = [];
  const vision = { ...context.vision!, onLargeImage: (_: unknown, numRows: number) => void told.push(numRows) };
  context.engine.info.maxPositions = 20_000;
  const plan = await planRecord(rowOf({}), context);
  const content = [{ type: 'image' as const }, { type: 'text' as const, text: 'Q' }];
  for (const numRows of [4096, 4097]) {
    const engine = {
      ...context.engine,
      layout: () => ({ runs: [numRows], numRows, positionSpan: numRows, numFeatures: numRows }),
    };
    const image = await context.loadImage('a.png', plan.images!);
    preparePrompt([{ role: 'user', content }], [image], plan, { ...context, engine, vision });
  }
  assert.deepEqual(told, [4097]);
});

test("an image's positions count, not its tokens", async () => {
  const context = await fakeContext();
  const plan = await planRecord(rowOf({}), context);
  const content = [{ type: 'image' as const }, { type: 'text' as const, text: 'Q' }];
  const image = await context.loadImage('a.png', plan.images!);
  const prepare = (positionSpan: number) => {
    const engine = { ...context.engine, info: { ...context.engine.info, maxPositions: 512 } };
    const layout = () => ({ runs: [2000], numRows: 2000, positionSpan, numFeatures: 2000 });
    return preparePrompt([{ role: 'user', content }], [image], plan, { ...context, engine: { ...engine, layout } });
  };
  const { promptIds, numPositions } = prepare(50);
  assert.equal(promptIds.length - numPositions, 1950);
  assert.throws(() => prepare(2000), /prompt: expected at most 512 tokens \(max_position_embeddings\), got 20\d\d/);
});
