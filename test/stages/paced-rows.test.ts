// SPDX-License-Identifier: Apache-2.0
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Pacing } from '../../src/engine/requests.ts';
import type { ModelContext } from '../../src/model/context.ts';
import type { VprefRecord } from '../../src/records/record.ts';
import { PacedRows } from '../../src/stages/paced-rows.ts';
import { precomputeRef } from '../../src/stages/precompute-ref.ts';
import { type SampleOptions, sample } from '../../src/stages/sample.ts';
import { score } from '../../src/stages/score.ts';
import type { Row, Stage } from '../../src/stages/stage.ts';
import { fakeContext } from '../support/fake-engine.ts';
import { openFixture, withoutEngine } from '../support/native.ts';

const IMAGES = ['fixtures/images/palette.png', 'fixtures/images/gray.png', 'fixtures/images/wide.png'];

const OPTIONS: SampleOptions = {
  n: 2,
  temperature: 0.9,
  topP: 1,
  topK: 0,
  maxNewTokens: 12,
  stop: [],
  beams: 1,
  repetitionMaxPeriod: 0,
  views: 'original',
  logps: true,
  seed: 7,
};

// More rows than are in the engine at a time; lengths, images and turns differ.
const RECORDS = Array.from({ length: 90 }, (_, i): VprefRecord => {
  const question = `What is it? ${'Look again. '.repeat(i % 7)}`;
  const turns = [
    { role: 'user' as const, content: question },
    { role: 'assistant' as const, content: null },
    { role: 'user' as const, content: 'Are you sure?' },
  ];
  return {
    id: `r${i}`,
    prompt: i % 5 === 0 ? turns : question,
    images: i % 3 === 0 ? [] : [IMAGES[i % IMAGES.length]!],
    sampling_params: { max_new_tokens: 2 + (i % 11) },
  };
});

const PAIRS = RECORDS.filter(({ prompt }) => typeof prompt === 'string').map((record, i): VprefRecord => {
  const rejected_images = i % 4 === 0 && record.images!.length > 0 ? { rejected_images: [IMAGES[0]!] } : {};
  return { ...record, chosen: `Yes ${i}.`, rejected: 'No, it is not.', ...rejected_images };
});

// Rows and images come when they like.
function jittery(context: ModelContext, random: () => number): ModelContext {
  return {
    ...context,
    inputPatienceMs: Number.POSITIVE_INFINITY,
    loadImage: async (image, plan) => {
      await sleep(random() * 8);
      return context.loadImage(image, plan);
    },
  };
}

async function* rowsOf(records: VprefRecord[], random: () => number): AsyncGenerator<Row> {
  for (const [i, record] of records.entries()) {
    if (random() < 0.2) await sleep(random() * 5);
    yield { record, source: 'test', line: i + 1 };
  }
}

async function bytesOf(stageOf: (context: ModelContext) => Stage, records: VprefRecord[]): Promise<string> {
  const open = await openFixture('fixtures/tiny-mha');
  try {
    const lines: string[] = [];
    const stage = stageOf(jittery(open.context, Math.random));
    for await (const result of stage(rowsOf(records, Math.random))) {
      assert.equal(result.error, undefined);
      lines.push(JSON.stringify(result.records));
    }
    return lines.join('\n');
  } finally {
    await open.close();
  }
}

const STAGES: [string, (context: ModelContext) => Stage, VprefRecord[]][] = [
  ['sample', (context) => sample(OPTIONS, context), RECORDS],
  ['score', score, PAIRS],
  ['precompute-ref', precomputeRef, PAIRS],
];

for (const [name, stageOf, records] of STAGES) {
  test(`${name}: two runs give the same bytes, whatever arrives when`, { skip: withoutEngine }, async () => {
    const [first, second] = [await bytesOf(stageOf, records), await bytesOf(stageOf, records)];
    assert.equal(second, first);
  });
}

// An engine that counts how often it may go on.
function countingPacing(): Pacing & { advances: number; isPaced: boolean } {
  return {
    advances: 0,
    isPaced: false,
    pace(paced) {
      this.isPaced = paced;
    },
    async advance() {
      this.advances += 1;
    },
  };
}

test('the engine waits for the whole window, and no longer than its patience for rows that do not come', async () => {
  const context = await fakeContext();
  const request = { promptIds: new Int32Array([1]), images: [], branches: [new Int32Array([1])] };
  const pacing = countingPacing();
  const rows = new PacedRows(pacing, { rowsInEngine: 2, patienceMs: Number.POSITIVE_INFINITY });
  assert.ok(pacing.isPaced);
  const first = rows.enter(context);
  const asked = first.context.engine.score(request);
  await sleep(20);
  assert.equal(pacing.advances, 0);
  const second = rows.enter(context);
  await sleep(20);
  assert.equal(pacing.advances, 0, 'the second row has asked for nothing yet');
  void second.context.engine.score(request);
  await asked;
  assert.ok(pacing.advances >= 1);
  rows.end();
  assert.ok(!pacing.isPaced);

  const live = countingPacing();
  const impatient = new PacedRows(live, { rowsInEngine: 2, patienceMs: 5 });
  await impatient.enter(context).context.engine.score(request);
  assert.ok(live.advances >= 1);
  impatient.end();
});

test('what is asked for after the end is let through', async () => {
  const context = await fakeContext();
  const rows = new PacedRows(countingPacing(), { rowsInEngine: 4, patienceMs: Number.POSITIVE_INFINITY });
  const { engine } = rows.enter(context).context;
  const request = { promptIds: new Int32Array([1]), images: [], branches: [new Int32Array([1])] };
  const early = engine.score(request);
  rows.end();
  await early;
  await engine.score(request);
});
