// SPDX-License-Identifier: Apache-2.0
// Covers src/flow/in-flight.ts src/model/context.ts src/model/record-plan.ts src/model/prompt.ts src/stages/sample/sampling-params.ts
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { RecordError } from '../../src/records/error.ts';
import { rngKey } from '../../src/records/random.ts';
import type { VprefRecord } from '../../src/records/record.ts';
import { SAMPLING_DEFAULTS } from '../../src/records/sampling-settings.ts';
import { type SampleOptions, sample } from '../../src/stages/sample.ts';
import { fakeContext, llavaVision, recordFrom, rowOf, runStage, textOfPixels } from '../support/fake-engine.ts';

const OPTIONS: SampleOptions = {
  ...SAMPLING_DEFAULTS,
  maxNewTokens: 64,
  stop: [],
  views: 'original',
  logps: false,
  seed: 7,
};

test('a record gets responses and their sampling settings', async () => {
  const context = await fakeContext();
  const record = await recordFrom(sample(OPTIONS, context), rowOf({ images: ['cat.png'], meta: { kept: 1 } }));
  assert.deepEqual(record.responses, [
    { text: 'Yes.', view: 'original', num_tokens: 3, finish_reason: 'stop', seed: 7 },
  ]);
  assert.deepEqual(record.sampling, {
    model: 'sha256:m',
    adapter: null,
    dtype: 'f32',
    template: 'auto',
    image_mode: 'pad',
    temperature: 0,
    top_p: 1,
    top_k: 0,
    max_new_tokens: 64,
    seed: 7,
  });
  assert.deepEqual(record.meta, { kept: 1 });
  const [request] = context.engine.generated;
  const { tokenizer } = context;
  const text = tokenizer.encode('USER: <image>\nWhat is it? ASSISTANT:');
  const expanded = [1, ...text.flatMap((id) => (id === 787 ? new Array(64).fill(787) : [id]))];
  assert.deepEqual([...request!.promptIds], expanded);
  assert.equal(textOfPixels(request!.images[0]!), 'cat.png pad');
});

test('n answers of one prompt are one request; logps and label on request', async () => {
  const context = await fakeContext((_, branch) => `No. ${branch}`);
  const options = { ...OPTIONS, numSamples: 3, temperature: 1, logps: true, label: 'a' };
  const record = await recordFrom(sample(options, context), rowOf({}));
  assert.equal(context.engine.generated.length, 1);
  assert.deepEqual(
    record.responses!.map((one) => one.text),
    ['No. 0', 'No. 1', 'No. 2'],
  );
  for (const response of record.responses!) {
    assert.equal(response.label, 'a');
    assert.ok(response.logps! < 0);
  }
});

test('a second sample stage adds to the first', async () => {
  const context = await fakeContext(() => 'Second.');
  const first: VprefRecord['responses'] = [{ text: 'First.', label: 'a' }];
  const record = await recordFrom(sample({ ...OPTIONS, label: 'b' }, context), rowOf({ responses: first }));
  assert.deepEqual(
    record.responses!.map(({ text, label }) => [text, label]),
    [
      ['First.', 'a'],
      ['Second.', 'b'],
    ],
  );
});

test('views: all is the original and each view; noise goes to the engine', async () => {
  const context = await fakeContext((request) => (request.images[0]!.noise ? 'noisy' : 'clean'));
  const views = [
    { name: 'diffusion', ops: [{ op: 'diffusion', step: 800, seed: 5 }], seed: 5 },
    { name: 'flip', ops: [{ op: 'hflip' }], seed: 1, images: ['flipped.png'] },
  ];
  const row = rowOf({ images: ['cat.png'], views });
  const record = await recordFrom(sample({ ...OPTIONS, views: 'all' }, context), row);
  assert.deepEqual(
    record.responses!.map(({ view, text }) => [view, text]),
    [
      ['original', 'clean'],
      ['diffusion', 'noisy'],
      ['flip', 'clean'],
    ],
  );
  const inputs = context.engine.generated.map(({ images }) => images[0]!);
  assert.deepEqual(inputs[1]!.noise, { step: 800, seed: 5 });
  assert.equal(textOfPixels(inputs[2]!), 'flipped.png pad');
  const one = await recordFrom(sample({ ...OPTIONS, views: 'flip' }, context), row);
  assert.deepEqual(
    one.responses!.map(({ view }) => view),
    ['flip'],
  );
  await assert.rejects(
    recordFrom(sample({ ...OPTIONS, views: 'none' }, context), row),
    /expected one named "none", got original diffusion flip/,
  );
});

test('open turns are generated one after the other, each sample with its own', async () => {
  const keys = [0, 1].map((turn) => rngKey(`r1\noriginal\n${turn}`));
  const context = await fakeContext((request) => `answer ${request.firstSample} to ${keys.indexOf(request.rngKey)}`);
  const prompt: VprefRecord['prompt'] = [
    { role: 'user', content: 'One?' },
    { role: 'assistant', content: null },
    { role: 'user', content: 'Two?' },
  ];
  const record = await recordFrom(sample({ ...OPTIONS, numSamples: 2, temperature: 1 }, context), rowOf({ prompt }));
  assert.deepEqual(
    record.responses!.map(({ text, turns }) => [text, turns]),
    [
      ['answer 0 to 1', ['answer 0 to 0', 'answer 0 to 1']],
      ['answer 1 to 1', ['answer 1 to 0', 'answer 1 to 1']],
    ],
  );
  const second = context.engine.generated.find((request) => request.rngKey === keys[1] && request.firstSample === 1)!;
  assert.equal(
    context.tokenizer.decode([...second.promptIds]),
    'USER: One? ASSISTANT: answer 1 to 0 USER: Two? ASSISTANT:',
  );
  assert.deepEqual(record.prompt, prompt, 'the prompt itself stays open');
});

test('a prompt that ends in an open turn means the same as one that ends in the question', async () => {
  const context = await fakeContext();
  const open: VprefRecord['prompt'] = [
    { role: 'user', content: 'One?' },
    { role: 'assistant', content: null },
  ];
  await recordFrom(sample(OPTIONS, context), rowOf({ prompt: open }));
  await recordFrom(sample(OPTIONS, context), rowOf({ prompt: 'One?' }));
  assert.deepEqual(context.engine.generated[0], context.engine.generated[1]);
  const answered: VprefRecord['prompt'] = [...open.slice(0, 1), { role: 'assistant', content: 'Yes.' }];
  await assert.rejects(
    recordFrom(sample(OPTIONS, context), rowOf({ prompt: answered })),
    /prompt\[1\]\.role: expected user/,
  );
});

test("a record's own sampling_params override flags; invalid ones are errors with their place", async () => {
  const context = await fakeContext();
  const own = { temperature: 0.7, n: 2, max_new_tokens: 8, stop: '\n', stop_repeats: 5, unknown: true };
  const record = await recordFrom(sample(OPTIONS, context), rowOf({ sampling_params: own }));
  const [request] = context.engine.generated;
  assert.deepEqual([request!.temperature, request!.numSamples, request!.maxNewTokens], [0.7, 2, 8]);
  assert.deepEqual(request!.stopStrings, [Uint8Array.of(10)]);
  assert.equal(request!.repetitionMaxPeriod, 5);
  assert.deepEqual([record.sampling!.temperature, record.sampling!.stop_repeats], [0.7, 5]);
  for (const wrong of [
    { temperature: -1 },
    { temperature: '1' },
    { n: 0 },
    { n: 1.5 },
    { top_p: 2 },
    { stop: [1] },
    { stop: [''] },
  ]) {
    const row = rowOf({ sampling_params: wrong as Record<string, unknown> });
    await assert.rejects(recordFrom(sample(OPTIONS, context), row), (error) => {
      assert.ok(error instanceof RecordError);
      assert.equal(error.field, `sampling_params.${Object.keys(wrong)[0]}`);
      return true;
    });
  }
});

test('an answer ends before its stop text; a special token stops by id', async () => {
  const context = await fakeContext(() => 'Yes. No. Maybe.');
  const record = await recordFrom(sample({ ...OPTIONS, stop: [' No', '</s>'] }, context), rowOf({}));
  assert.equal(record.responses![0]!.text, 'Yes.');
  const [request] = context.engine.generated;
  assert.deepEqual(
    request!.stopStrings.map((bytes) => new TextDecoder().decode(bytes)),
    [' No'],
  );
  assert.deepEqual([...request!.eosTokenIds], [2, 2]);
});

test('template and image mode of a record hold; a flag that differs is an error', async () => {
  const sampling = { model: 'x', template: 'vicuna_v1', image_mode: 'crop' };
  const row = rowOf({ images: ['cat.png'], sampling });
  const context = await fakeContext();
  const record = await recordFrom(sample(OPTIONS, context), row);
  assert.equal(record.sampling!.template, 'vicuna_v1');
  assert.equal(record.sampling!.image_mode, 'crop');
  assert.match(context.tokenizer.decode([...context.engine.generated[0]!.promptIds]), /^A chat between a curious user/);
  const asked = await fakeContext(undefined, { template: { asked: 'plain', otherwise: 'plain' } });
  await assert.rejects(
    recordFrom(sample(OPTIONS, asked), row),
    /sampling\.template: expected "plain" as --template says, got "vicuna_v1"/,
  );
  const padded = await fakeContext(undefined, { vision: llavaVision({ mode: 'pad' }) });
  await assert.rejects(
    recordFrom(sample(OPTIONS, padded), row),
    /sampling\.image_mode: expected "pad" as --image-mode says, got "crop"/,
  );
});

test("the family's image mode gives a note if nothing else decides it", async () => {
  let told = 0;
  const vision = { ...llavaVision(), onFamilyMode: () => void told++ };
  const context = await fakeContext(undefined, { vision });
  const sampling = { model: 'x', image_mode: 'pad' };
  await runStage(sample(OPTIONS, context), [rowOf({}, 1), rowOf({ images: ['a.png'], sampling }, 2)]);
  assert.equal(told, 0);
  await runStage(sample(OPTIONS, context), [rowOf({ images: ['a.png'] }, 1)]);
  assert.equal(told, 1);
});

test('a prompt that does not fit is an error of its row; an answer stays within the positions', async () => {
  const context = await fakeContext();
  const long = rowOf({ prompt: 'word '.repeat(600) }, 1);
  const results = await runStage(sample({ ...OPTIONS, maxNewTokens: 1000 }, context), [long, rowOf({}, 2)]);
  assert.equal(results[0]!.error!.code, 'too-long');
  assert.match(results[0]!.error!.message, /expected at most 512 tokens \(max_position_embeddings\), got \d+/);
  assert.equal(results[1]!.records.length, 1);
  const [request] = context.engine.generated;
  assert.equal(request!.maxNewTokens, 512 - request!.promptIds.length);
});

test('results come in input order whatever finishes first, at most 64 rows under way', async () => {
  let underWay = 0;
  let most = 0;
  const ids = new Map(
    Array.from({ length: 200 }, (_, index) => [rngKey(`r${index + 1}\noriginal\n0`), `r${index + 1}`]),
  );
  const context = await fakeContext(async (request) => {
    underWay += 1;
    most = Math.max(most, underWay);
    const id = ids.get(request.rngKey)!;
    const turns = 1 + ((Number(id.slice(1)) * 7) % 5);
    for (let i = 0; i < turns; i++) await new Promise((resolve) => setImmediate(resolve));
    underWay -= 1;
    return id;
  });
  const rows = Array.from({ length: 200 }, (_, index) => rowOf({}, index + 1));
  const results = await runStage(sample(OPTIONS, context), rows);
  assert.deepEqual(
    results.map(({ row }) => row.record.id),
    rows.map(({ record }) => record.id),
  );
  for (const { records } of results) assert.equal(records[0]!.responses![0]!.text, records[0]!.id);
  assert.ok(most > 8 && most <= 64, String(most));
});

test('--steer requests attributes in the last user turn, and records them', async () => {
  const context = await fakeContext();
  const steer = { helpfulness: 4, verbosity: 2 };
  const record = await recordFrom(sample({ ...OPTIONS, steer }, context), rowOf({ images: ['a.png'] }));
  const text = context.tokenizer.decode([...context.engine.generated[0]!.promptIds]);
  assert.match(
    text,
    /What is it\?\nPlease answer the question such that .* Likert scale:\nHelpfulness:4,Verbosity:2 ASSISTANT:$/,
  );
  assert.equal(record.prompt, 'What is it?');
  assert.deepEqual(record.sampling!.steer, steer);
});

test('a view that is a recipe is the clean image and the operations on it', async () => {
  const views = [{ name: 'flip', ops: [{ op: 'hflip' }], seed: 1 }];
  const loaded: unknown[] = [];
  const own = await fakeContext();
  const context = await fakeContext(undefined, {
    loadImage: async (source, plan, ops) => {
      loaded.push([source, plan.mode, ops]);
      return own.loadImage(source, plan, ops);
    },
  });
  await recordFrom(sample({ ...OPTIONS, views: 'all' }, context), rowOf({ images: ['a.png'], views }));
  assert.deepEqual(loaded, [
    ['a.png', 'pad', undefined],
    ['a.png', 'pad', [{ op: 'hflip' }]],
  ]);
});
