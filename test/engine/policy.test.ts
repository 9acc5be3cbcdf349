// SPDX-License-Identifier: Apache-2.0
// What does not depend on company: batches, order, shards, branches. What is cancelled, refused, closed.
// Covers native/addon/machine.cc src/engine/engine-error.ts
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { loadBinding, missingExports } from '../../src/engine/binding.ts';
import { EngineError } from '../../src/engine/engine-error.ts';
import type { GenerateRequest } from '../../src/engine/requests.ts';
import type { OpenModel } from '../../src/model/load.ts';
import { rngKey } from '../../src/records/random.ts';
import type { VprefRecord } from '../../src/records/record.ts';
import { SAMPLING_DEFAULTS } from '../../src/records/sampling-settings.ts';
import { precomputeRef } from '../../src/stages/precompute-ref.ts';
import { type SampleOptions, sample } from '../../src/stages/sample.ts';
import { score } from '../../src/stages/score.ts';
import { rowOf, runStage } from '../support/fake-engine.ts';
import { DEMO, openFixture, withoutEngine } from '../support/native.ts';

const skip = withoutEngine;
let model: OpenModel;
before(async () => {
  if (!skip) model = await openFixture(DEMO);
});
after(() => model?.close());

const QUESTIONS = [
  'Describe the image in detail.',
  'Is there a cat in the image?',
  'What color is the background?',
  'List the objects.',
];
const RECORDS: Partial<VprefRecord>[] = Array.from({ length: 16 }, (_, index) => ({
  id: `r${index}`,
  images: [`fixtures/demo/data/test/images/scene_${String(index >> 1).padStart(4, '0')}.jpg`],
  prompt: QUESTIONS[index % QUESTIONS.length]!,
}));
const SAMPLED: SampleOptions = {
  ...SAMPLING_DEFAULTS,
  numSamples: 2,
  temperature: 0.9,
  topP: 0.95,
  topK: 50,
  maxNewTokens: 40,
  stop: [],
  views: 'original',
  logps: true,
  seed: 3,
};

async function answersOf(records: Partial<VprefRecord>[], options = SAMPLED): Promise<Map<string, VprefRecord>> {
  const results = await runStage(
    sample(options, model.context),
    records.map((record, index) => rowOf(record, index + 1)),
  );
  for (const { error } of results) assert.equal(error, undefined);
  return new Map(results.map(({ records: [record] }) => [record!.id, record!]));
}

function assertSame(left: VprefRecord, right: VprefRecord): void {
  assert.equal(left.responses!.length, right.responses!.length);
  for (const [k, response] of left.responses!.entries()) {
    const other = right.responses![k]!;
    assert.equal(response.text, other.text, left.id);
    assert.ok(Math.abs(response.logps! - other.logps!) < 2e-3, `${left.id}: ${response.logps} and ${other.logps}`);
  }
}

test('one by one, concurrently, in reverse and in shards, requests give the same responses', { skip }, async () => {
  const together = await answersOf(RECORDS);
  const reversed = await answersOf([...RECORDS].reverse());
  const shards = [
    await answersOf(RECORDS.filter((_, index) => index % 2 === 0)),
    await answersOf(RECORDS.filter((_, index) => index % 2 === 1)),
  ];
  for (const record of RECORDS) {
    const [alone] = (await answersOf([record])).values();
    const whole = together.get(record.id!)!;
    assertSame(whole, alone!);
    assertSame(whole, reversed.get(record.id!)!);
    assertSame(whole, (shards[0]!.get(record.id!) ?? shards[1]!.get(record.id!))!);
  }
});

test('n branches of one prefix are n prompts of one branch', { skip }, async () => {
  const { promptIds } = {
    promptIds: Int32Array.from([1, ...model.context.tokenizer.encode('USER: Say hello. ASSISTANT:')]),
  };
  const draw: Omit<GenerateRequest, 'firstSample'> = {
    ...SAMPLING_DEFAULTS,
    promptIds,
    images: [],
    temperature: 1,
    maxNewTokens: 12,
    stopStrings: [],
    eosTokenIds: new Int32Array(),
    seed: 5,
    rngKey: rngKey('k'),
  };
  const together = await model.policy.generate({ ...draw, numSamples: 4, firstSample: 0 });
  const apart = await Promise.all(
    [0, 1, 2, 3].map((firstSample) => model.policy.generate({ ...draw, numSamples: 1, firstSample })),
  );
  assert.deepEqual(
    together.map(({ ids }) => [...ids]),
    apart.map(([only]) => [...only!.ids]),
  );
  assert.ok(new Set(together.map(({ ids }) => ids.join())).size > 1, 'draws differ between branches');
});

test('score and generate give a response the same log-probability', { skip }, async () => {
  const answers = await answersOf(RECORDS.slice(0, 8));
  const rows = [...answers.values()].map((record, index) => rowOf(record, index + 1));
  const scored = await runStage(score(model.context), rows);
  const { tokenizer } = model.context;
  let compared = 0;
  for (const { row, records } of scored) {
    for (const [k, response] of records[0]!.responses!.entries()) {
      const before = row.record.responses![k]!;
      // Texts that tokenise another way than they were drawn are another sequence.
      if (response.num_tokens !== before.num_tokens || tokenizer.encode(before.text).length === 0) continue;
      compared += 1;
      assert.ok(
        Math.abs(response.logps! - before.logps!) < 2e-3,
        `${row.record.id}: ${response.logps} and ${before.logps}`,
      );
    }
  }
  assert.ok(compared >= 12, `compared ${compared} of 16`);
});

test('the reference equals the score, whatever else is in its tree', { skip }, async () => {
  const pair = { ...RECORDS[0]!, chosen: 'There is a laptop.', rejected: ['There is a cat.', 'Yes.'] };
  const [ref] = await runStage(precomputeRef(model.context), [rowOf(pair)]);
  const [alone] = await runStage(score(model.context), [rowOf({ ...RECORDS[0]!, response: 'There is a cat.' })]);
  const [list, single] = [ref!.records[0]!.ref_rejected_logps as number[], alone!.records[0]!.policy_response_logps!];
  assert.ok(Math.abs(list[0]! - single) < 1e-3);
  assert.ok(ref!.records[0]!.ref_chosen_logps! > list[0]!, 'the laptop is in the image');
});

test('noise changes the answer, and the same noise gives the same', { skip }, async () => {
  const views = [{ name: 'noisy', ops: [{ op: 'diffusion', step: 900, seed: 11 }], seed: 11 }];
  const greedy = { ...SAMPLED, numSamples: 1, temperature: 0, topP: 1, topK: 0, views: 'all' };
  const records = RECORDS.slice(0, 6).map((record) => ({ ...record, views }));
  const first = [...(await answersOf(records, greedy)).values()];
  const second = [...(await answersOf(records, greedy)).values()];
  for (const [k, record] of first.entries()) assertSame(record, second[k]!);
  assert.ok(first.some(({ responses }) => responses![0]!.text !== responses![1]!.text));
  assert.ok(first.every(({ responses }) => responses![0]!.logps !== responses![1]!.logps));
});

test('beams find an answer at least as likely as the greedy one', { skip }, async () => {
  const greedy = { ...SAMPLED, numSamples: 1, temperature: 0, topP: 1, topK: 0 };
  const one = [...(await answersOf(RECORDS.slice(0, 4), greedy)).values()];
  const four = [...(await answersOf(RECORDS.slice(0, 4), { ...greedy, numBeams: 4 })).values()];
  const mean = ({ responses }: VprefRecord) => responses![0]!.logps! / responses![0]!.num_tokens!;
  assert.ok(
    four.reduce((sum, record) => sum + mean(record), 0) >= one.reduce((sum, record) => sum + mean(record), 0) - 1e-3,
  );
});

test('a stop text ends an answer, also across tokens', { skip }, async () => {
  const options = { ...SAMPLED, numSamples: 1, temperature: 0, topP: 1, topK: 0, stop: ['he back'] };
  const [record] = (await answersOf(RECORDS.slice(0, 1), options)).values();
  const [whole] = (await answersOf(RECORDS.slice(0, 1), { ...options, stop: [] })).values();
  const { text, finish_reason } = record!.responses![0]!;
  assert.equal(text, whole!.responses![0]!.text.split('he back')[0]);
  assert.equal(finish_reason, 'stop');
});

test('finish_reason names the length limit', { skip }, async () => {
  const [record] = (await answersOf(RECORDS.slice(0, 1), { ...SAMPLED, maxNewTokens: 3 })).values();
  for (const response of record!.responses!) {
    assert.equal(response.finish_reason, 'length');
    assert.equal(response.num_tokens, 3);
  }
});

test('an aborted request is cancelled', { skip }, async () => {
  const controller = new AbortController();
  const { tokenizer } = model.context;
  const request: GenerateRequest = {
    promptIds: Int32Array.from([1, ...tokenizer.encode('USER: Say hello. ASSISTANT:')]),
    images: [],
    ...SAMPLING_DEFAULTS,
    numSamples: 8,
    temperature: 1,
    maxNewTokens: 400,
    stopStrings: [],
    eosTokenIds: new Int32Array(),
    seed: 1,
    rngKey: rngKey('x'),
    firstSample: 0,
  };
  const running = model.policy.generate(request, controller.signal);
  controller.abort();
  await assert.rejects(running, (error) => error instanceof EngineError && error.code === 'cancelled');
  await assert.rejects(
    model.policy.generate(request, controller.signal),
    (error) => error instanceof EngineError && error.code === 'cancelled',
  );
  assert.equal(
    (await model.policy.generate({ ...request, numSamples: 1, maxNewTokens: 2 })).length,
    1,
    'the engine goes on',
  );
});

test('invalid requests are refused, and the engine continues', { skip }, async () => {
  const base = { images: [], branches: [Int32Array.of(5)] };
  const wrong: Int32Array[] = [
    new Int32Array(0),
    Int32Array.of(-1),
    Int32Array.of(100_000),
    new Int32Array(5000).fill(5),
    Int32Array.of(1, 787),
  ];
  for (const promptIds of wrong) {
    await assert.rejects(
      model.policy.score({ ...base, promptIds }),
      (error) => error instanceof EngineError && error.code === 'request',
      String(promptIds.slice(0, 4)),
    );
  }
  const [logps] = await model.policy.score({ ...base, promptIds: Int32Array.of(1, 5) });
  assert.equal(logps!.length, 1);
});

test('closing a model cancels waiting requests; many aborted requests do no harm', { skip }, async () => {
  const other = await openFixture(DEMO);
  const request = (key: string): GenerateRequest => ({
    promptIds: Int32Array.of(1, 5, 6, 7),
    images: [],
    ...SAMPLING_DEFAULTS,
    numSamples: 2,
    temperature: 1,
    maxNewTokens: 200,
    stopStrings: [],
    eosTokenIds: new Int32Array(),
    seed: 1,
    rngKey: rngKey(key),
    firstSample: 0,
  });
  const outcomes = await Promise.all(
    Array.from({ length: 60 }, async (_, index) => {
      const controller = new AbortController();
      const running = other.policy.generate(
        { ...request(String(index)), maxNewTokens: index % 3 === 0 ? 5 : 200 },
        controller.signal,
      );
      if (index % 3 !== 0) setTimeout(() => controller.abort(), index % 7);
      return running.then(
        (answers) => answers.length,
        (error: EngineError) => error.code,
      );
    }),
  );
  for (const [index, outcome] of outcomes.entries()) {
    // An aborted one may have been quick enough.
    if (index % 3 === 0) assert.equal(outcome, 2);
    else assert.ok(outcome === 'cancelled' || outcome === 2, String(outcome));
  }
  const waiting = Array.from({ length: 20 }, (_, index) =>
    other.policy.generate({ ...request(`w${index}`), maxNewTokens: 400, numSamples: 8 }).then(
      () => 'answered',
      (error: EngineError) => error.code,
    ),
  );
  await other.close();
  const ends = await Promise.all(waiting);
  assert.ok(ends.includes('cancelled') && ends.every((end) => end === 'cancelled' || end === 'answered'), ends.join());
});

test('a closed model refuses requests', { skip }, async () => {
  const { policy, close } = await openFixture(DEMO);
  await close();
  await assert.rejects(
    policy.score({ promptIds: Int32Array.of(1), images: [], branches: [Int32Array.of(5)] }),
    (error) => error instanceof EngineError && error.code === 'closed',
  );
});

test('the addon exports what binding.ts lists, and its probe computes right numbers', { skip }, () => {
  const { binding } = loadBinding('cpu');
  assert.deepEqual(missingExports(binding), []);
  assert.deepEqual(missingExports({ ...binding, losses: undefined as never, Policy: {} as never }).slice(0, 2), [
    'losses',
    'Policy.advance',
  ]);
  const known = missingExports({}).filter((name) => !name.includes('.'));
  assert.deepEqual(Object.keys(binding).sort(), known.sort());
  assert.ok(binding.buildInfo().backends.includes('cpu'));
  assert.ok(binding.probeDevice('cpu').maxError < 1e-4);
});
