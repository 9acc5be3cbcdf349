// SPDX-License-Identifier: Apache-2.0
// From image files and messages to ids and log-probabilities, against transformers in float32 (scripts/goldens/e2e.py).
// Covers src/engine/policy.ts src/engine/binding.ts src/model/load.ts native/addon/policy_object.cc native/addon/convert.cc
// Covers native/addon/promise_worker.cc native/addon/addon.cc
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import type { PreparedPrompt } from '../../src/model/context.ts';
import type { OpenModel } from '../../src/model/load.ts';
import { loadImages, preparePrompt } from '../../src/model/prompt.ts';
import { CLIP_MEAN, CLIP_STD } from '../../src/pixels/square.ts';
import { rngKey } from '../../src/records/random.ts';
import type { Message } from '../../src/records/record.ts';
import { SAMPLING_DEFAULTS } from '../../src/records/sampling-settings.ts';
import { promptTurns, type Turn } from '../../src/text/chat-template.ts';
import { responseIds } from '../../src/text/prompt-ids.ts';
import { LLAVA_MARKS } from '../support/fake-engine.ts';
import { DEMO, openFixture, withoutEngine } from '../support/native.ts';

interface Case {
  name: string;
  mode: 'pad' | 'crop';
  prompt: string | Message[];
  images: string[];
  text: string;
  prompt_ids: number[];
  prompt_length: number;
  greedy_ids: number[];
  greedy_margins: number[];
  greedy_logps: number[];
  responses: { text: string; ids: number[]; logps: number[]; sum: number }[];
}

/** One greedy answer. */
const GREEDY = {
  ...SAMPLING_DEFAULTS,
  stopStrings: [],
  eosTokenIds: new Int32Array(),
  seed: 0,
  rngKey: rngKey('x'),
  firstSample: 0,
};

// Tolerances: float32 in another order of summation; another JPEG decoder moves some pixels by a level.
const SUM_TOLERANCE = 2e-3;
const LOGP_TOLERANCE = 1e-3;
const JPEG_SUM_TOLERANCE = 0.5;
const CLEAR_MARGIN = 1e-3;
const CLEAR_JPEG_MARGIN = 0.05;

for (const file of readdirSync('fixtures/golden/e2e')) {
  const golden: { checkpoint: string; cases: Case[] } = JSON.parse(readFileSync(`fixtures/golden/e2e/${file}`, 'utf8'));
  test(`${file}: ids, greedy answers and log-probabilities of ${golden.cases.length} prompts`, {
    skip: withoutEngine,
  }, async () => {
    const model = await openFixture(golden.checkpoint);
    try {
      for (const one of golden.cases) await checkCase(one, model);
    } finally {
      await model.close();
    }
  });
}

test('images are read by as many threads as were asked for', { skip: withoutEngine }, async () => {
  let started = 0;
  const count = () => {
    started += 1;
  };
  process.on('worker', count);
  const model = await openFixture(DEMO, { threads: 1 });
  try {
    const images = readdirSync('fixtures/demo/data/test/images').slice(0, 4);
    const { plan } = model.context.vision!;
    const pixels = images.map((name) => model.context.loadImage(`fixtures/demo/data/test/images/${name}`, plan));
    for (const { crops } of await Promise.all(pixels)) assert.ok(crops[0]!.pixels.length > 0);
    assert.equal(started, 1);
  } finally {
    process.off('worker', count);
    await model.close();
  }
});

async function checkCase(one: Case, model: OpenModel): Promise<void> {
  const { context, policy } = model;
  const where = `${one.name}, ${one.mode}`;
  const ownMode = context.vision && { images: { ...context.vision.plan, mode: one.mode } };
  const plan = { template: await context.loadTemplate('auto'), ...ownMode };
  const row = { record: { id: 'x', prompt: one.prompt, images: one.images }, source: 'golden', line: 1 };
  const images = await loadImages(row, { images: one.images }, plan, context);
  const prepared = preparePrompt(promptTurns(one.prompt, images.length, LLAVA_MARKS) as Turn[], images, plan, context);
  assert.equal(prepared.prompt.text, one.text, where);
  assert.deepEqual(prepared.prompt.ids, one.prompt_ids, where);
  assert.equal(prepared.promptIds.length, one.prompt_length, where);
  const isJpeg = one.images.some((path) => path.endsWith('.jpg'));
  await checkGreedy(one, prepared, isJpeg ? CLEAR_JPEG_MARGIN : CLEAR_MARGIN, model);
  const branches = one.responses.map(({ text }) =>
    responseIds(prepared.prompt, text, context.tokenizer, context.vision?.tokens),
  );
  for (const [k, branch] of branches.entries()) assert.deepEqual([...branch], one.responses[k]!.ids, where);
  const { promptIds } = prepared;
  const scored = await policy.score({ promptIds, images, branches });
  for (const [k, logps] of scored.entries()) {
    const { text, sum, logps: expected } = one.responses[k]!;
    const total = logps.reduce((left, right) => left + right, 0);
    const what = `${where}, ${JSON.stringify(text)}: sum ${total}, expected ${sum}`;
    assert.ok(Math.abs(total - sum) <= (isJpeg ? JPEG_SUM_TOLERANCE : SUM_TOLERANCE), what);
    if (!isJpeg)
      for (const [t, logp] of logps.entries())
        assert.ok(Math.abs(logp - expected[t]!) <= LOGP_TOLERANCE, `${what}, token ${t}`);
  }
}

async function checkGreedy(
  one: Case,
  prepared: PreparedPrompt,
  clearMargin: number,
  { policy }: OpenModel,
): Promise<void> {
  const { promptIds, images } = prepared;
  const [answer] = await policy.generate({ ...GREEDY, promptIds, images, maxNewTokens: one.greedy_ids.length });
  // After a token that rounding may choose another way the answers go different ways.
  const unclear = one.greedy_margins.findIndex((margin) => margin <= clearMargin);
  const length = unclear === -1 ? one.greedy_ids.length : unclear;
  assert.deepEqual([...answer!.ids].slice(0, length), one.greedy_ids.slice(0, length), `${one.name}, ${one.mode}`);
}

interface DemoGolden {
  image: string;
  question: string;
  unexpanded_input_ids: number[];
  input_length: number;
  pixel_mean: number;
  pixel_std: number;
  pixel_first8: number[];
  next_token_top5: [number, string, number][];
  greedy: string;
}

test("the demo model's golden numbers: ids, pixels, next-token logits, answers", { skip: withoutEngine }, async () => {
  const { golden }: { golden: DemoGolden[] } = JSON.parse(
    readFileSync('fixtures/demo/data/test/reference_scores.json', 'utf8'),
  );
  const model = await openFixture('fixtures/demo/tiny-llava');
  try {
    for (const one of golden) await checkDemoGolden(one, model);
  } finally {
    await model.close();
  }
});

async function checkDemoGolden(one: DemoGolden, { context, policy }: OpenModel): Promise<void> {
  const plan = { template: await context.loadTemplate('auto'), images: context.vision!.plan };
  const sources = [`fixtures/demo/data/test/images/${one.image}`];
  const row = { record: { id: 'x', prompt: one.question, images: sources }, source: 'golden', line: 1 };
  const images = await loadImages(row, { images: sources }, plan, context);
  const { prompt, promptIds } = preparePrompt(
    promptTurns(one.question, 1, LLAVA_MARKS) as Turn[],
    images,
    plan,
    context,
  );
  assert.deepEqual(prompt.ids, one.unexpanded_input_ids);
  assert.equal(promptIds.length, one.input_length);
  const values = Array.from(
    images[0]!.crops[0]!.pixels,
    (value, i) => (value / 255 - CLIP_MEAN[i % 3]!) / CLIP_STD[i % 3]!,
  );
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  const variance = values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (values.length - 1);
  // Another JPEG decoder: half a level on average is 0.007 here.
  assert.ok(Math.abs(mean - one.pixel_mean) < 0.01, `${mean}`);
  assert.ok(Math.abs(Math.sqrt(variance) - one.pixel_std) < 0.01, `${Math.sqrt(variance)}`);
  for (const [k, expected] of one.pixel_first8.entries())
    assert.ok(Math.abs(values[3 * k]! - expected) < 0.06, `${values[3 * k]}`);
  const branches = one.next_token_top5.map(([id]) => Int32Array.of(id));
  const logps = (await policy.score({ promptIds, images, branches })).map((tokens) => tokens[0]!);
  for (const [k, [, token, logit]] of one.next_token_top5.entries()) {
    // Logits are known up to a constant.
    const difference = logps[k]! - logps[0]! - (logit - one.next_token_top5[0]![2]);
    assert.ok(Math.abs(difference) < 0.05, `${one.image} ${token}: ${difference}`);
  }
  const [answer] = await policy.generate({ ...GREEDY, promptIds, images, maxNewTokens: 60 });
  assert.equal(context.tokenizer.decode([...answer!.ids]), one.greedy);
}
