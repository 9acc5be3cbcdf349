// SPDX-License-Identifier: Apache-2.0
// Covers src/stages/reference-inputs.ts
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { VprefRecord } from '../../src/records/record.ts';
import { precomputeRef } from '../../src/stages/precompute-ref.ts';
import { fakeContext, recordFrom, rowOf, sum, textOfPixels } from '../support/fake-engine.ts';

const context = await fakeContext();
const logpsOf = (text: string) => sum(Float32Array.from([...context.tokenizer.encode(text), 2], (id) => -id / 1000));
const REF = { model: 'sha256:m', adapter: null, dtype: 'f32', template: 'auto', image_mode: 'pad' };

test('a pair gets the reference and its fingerprint', async () => {
  const record = await recordFrom(
    precomputeRef(context),
    rowOf({ images: ['a.png'], chosen: 'Yes.', rejected: 'No.' }),
  );
  assert.equal(record.ref_chosen_logps, logpsOf('Yes.'));
  assert.equal(record.ref_rejected_logps, logpsOf('No.'));
  const { inputs, ...ref } = record.ref!;
  assert.deepEqual(ref, REF);
  const digest = '[0-9a-f]{32}';
  assert.match(
    inputs!,
    new RegExp(`^prompt:${digest} chosen:${digest} rejected:${digest} pixels:${digest} images:${digest}$`),
  );
});

test('K negatives give a list, also for K = 1', async () => {
  const record = await recordFrom(precomputeRef(context), rowOf({ chosen: 'Yes.', rejected: ['No.'] }));
  assert.deepEqual(record.ref_rejected_logps, [logpsOf('No.')]);
});

test('rows for kto and sft get ref_response_logps', async () => {
  const record = await recordFrom(precomputeRef(context), rowOf({ response: 'Yes.', label: false }));
  assert.equal(record.ref_response_logps, logpsOf('Yes.'));
  assert.equal(record.ref_chosen_logps, undefined);
});

test('image-side negatives: chosen is scored with each set of images', async () => {
  const pair: Partial<VprefRecord> = { images: ['a.png'], chosen: 'Yes.', rejected: 'No.' };
  const one = await recordFrom(precomputeRef(context), rowOf({ ...pair, rejected_images: ['b.png'] }));
  assert.equal(one.ref_chosen_logps_rejected_images, logpsOf('Yes.'));
  context.engine.scored.length = 0;
  const two = await recordFrom(precomputeRef(context), rowOf({ ...pair, rejected_images: [['b.png'], ['c.png']] }));
  assert.deepEqual(two.ref_chosen_logps_rejected_images, [logpsOf('Yes.'), logpsOf('Yes.')]);
  const images = context.engine.scored.map((request) => textOfPixels(request.images[0]!));
  assert.deepEqual(images.sort(), ['a.png pad', 'b.png pad', 'c.png pad']);
});

test('a record that has it passes through untouched; one that lacks a part is completed', async () => {
  const made = await recordFrom(precomputeRef(context), rowOf({ chosen: 'Yes.', rejected: 'No.' }));
  const done = { ...made, ref_chosen_logps: -1, ref_rejected_logps: -2 };
  context.engine.scored.length = 0;
  assert.deepEqual(await recordFrom(precomputeRef(context), rowOf(done)), done);
  assert.equal(context.engine.scored.length, 0);
  const { ref_rejected_logps: _, ...half } = done;
  assert.equal((await recordFrom(precomputeRef(context), rowOf(half))).ref_rejected_logps, logpsOf('No.'));
});

test('sums of 0.1, which do not say of which texts they are, are computed again', async () => {
  const old = { chosen: 'Yes.', rejected: 'No.', ref_chosen_logps: -1, ref_rejected_logps: -2, ref: REF };
  const made = await recordFrom(precomputeRef(context), rowOf(old));
  assert.equal(made.ref_chosen_logps, logpsOf('Yes.'));
  assert.equal(made.ref_rejected_logps, logpsOf('No.'));
  assert.notEqual(made.ref!.inputs, undefined);
});

test('a text, a picture, a processor setting or a template that changed since is named', async () => {
  const pair: Partial<VprefRecord> = { images: ['a.png'], chosen: 'Yes.', rejected: ['No.', 'Maybe.'] };
  const made = await recordFrom(precomputeRef(context), rowOf(pair));
  const again = (changed: Partial<VprefRecord>, over = {}) =>
    recordFrom(precomputeRef({ ...context, ...over }), rowOf({ ...made, ...changed }));
  assert.deepEqual(await again({}), made);
  await assert.rejects(again({ prompt: 'Is it?' }), /: prompt: expected the token ids that ref_\* were computed for/);
  await assert.rejects(again({ chosen: 'Yes!' }), /: chosen: expected the token ids/);
  await assert.rejects(again({ rejected: ['No.', 'maybe.'] }), /: rejected: expected the token ids/);
  await assert.rejects(again({}, { imageDigest: async () => 'other' }), /: images: expected those .* got other bytes/);
  const { vision } = context;
  for (const changed of [{ size: 1 }, { normalisation: { ...vision!.plan.normalisation, std: [1, 1, 1] as const } }]) {
    const over = { vision: { ...vision!, plan: { ...vision!.plan, ...changed } } };
    await assert.rejects(again({}, over), /: pixels: expected those .* processor's settings/);
  }
});

test('the arguments of a template are recorded, hold for later stages, and give way to no flag', async () => {
  const asked: unknown[] = [];
  const own = await context.loadTemplate('auto');
  const loadTemplate: typeof context.loadTemplate = async (_name, args = {}) => {
    asked.push(args);
    return { ...own, args: { ...args, strftime_now: args.strftime_now ?? '2024-07-26' } };
  };
  const dated = { ...context, loadTemplate };
  const made = await recordFrom(precomputeRef(dated), rowOf({ chosen: 'Yes.', rejected: 'No.' }));
  assert.deepEqual(made.ref!.template_args, { strftime_now: '2024-07-26' });
  await recordFrom(precomputeRef(dated), rowOf(made));
  assert.deepEqual(asked, [{}, { strftime_now: '2024-07-26' }]);
  await assert.rejects(
    recordFrom(precomputeRef({ ...dated, templateArgs: { mood: 1 } }), rowOf(made)),
    /ref\.template_args\.mood: expected 1 \(--template-arg\), got nothing/,
  );
});

test('another model, adapter, dtype or form of the weights is refused', async () => {
  for (const other of [{ model: 'sha256:n' }, { adapter: 'sha256:a' }, { dtype: 'bf16' }, { quantize: 'nf4' }]) {
    const row = rowOf({ chosen: 'Yes.', rejected: 'No.', ref: { ...REF, ...other } });
    await assert.rejects(
      recordFrom(precomputeRef(context), row),
      new RegExp(`ref\\.${Object.keys(other)[0]}: expected .*this reference`),
    );
  }
});

test('a record without texts is an error', async () => {
  await assert.rejects(
    recordFrom(precomputeRef(context), rowOf({ choices: ['A'] })),
    /record: expected chosen and rejected, or response/,
  );
});
