// SPDX-License-Identifier: Apache-2.0
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Pacing, PolicyInfo } from '../../src/engine/requests.ts';
import { mapRowsInFlight } from '../../src/flow/in-flight.ts';
import { RowWindow, windowFor } from '../../src/flow/same-batches.ts';
import type { Row, Stage } from '../../src/flow/stage.ts';
import type { ModelContext } from '../../src/model/context.ts';
import type { VprefRecord } from '../../src/records/record.ts';
import { SAMPLING_DEFAULTS } from '../../src/records/sampling-settings.ts';
import { precomputeRef } from '../../src/stages/precompute-ref.ts';
import { type SampleOptions, sample } from '../../src/stages/sample.ts';
import { score } from '../../src/stages/score.ts';
import { openFixture, withoutEngine } from '../support/native.ts';

const IMAGES = ['fixtures/images/palette.png', 'fixtures/images/gray.png', 'fixtures/images/wide.png'];

const OPTIONS: SampleOptions = {
  ...SAMPLING_DEFAULTS,
  numSamples: 2,
  temperature: 0.9,
  maxNewTokens: 12,
  stop: [],
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
    loadImage: async (...image) => {
      await sleep(random() * 8);
      return context.loadImage(...image);
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

/** An engine whose batches must be the same: each advance() ends the first request that it has; `batches` says what was there then. */
class BatchedEngine implements Pacing {
  readonly info = { device: 'cuda' } as PolicyInfo;
  readonly pacing = this;
  readonly batches: string[] = [];
  isPaced = false;
  readonly #asked: { name: string; end: () => void }[] = [];

  ask(name: string): Promise<void> {
    return new Promise((end) => {
      this.#asked.push({ name, end });
      if (!this.isPaced) end();
    });
  }

  pace(paced: boolean): void {
    this.isPaced = paced;
  }

  async advance(): Promise<void> {
    this.batches.push(this.#asked.map(({ name }) => name).join(' '));
    this.#asked.shift()?.end();
  }
}

// Each row makes two requests, one after the other; every seventh a third one beside them, every tenth none.
async function batchesOf(numRows: number, options: { inputPatienceMs?: number; stop?: AbortSignal } = {}) {
  const engine = new BatchedEngine();
  const work = async ({ record }: Row) => {
    await sleep(Math.random() * 6);
    const number = Number(record.id);
    if (number % 10 === 9) return [record];
    return async () => {
      const beside = number % 7 === 0 ? engine.ask(`${number}c`) : undefined;
      await engine.ask(`${number}a`);
      await engine.ask(`${number}b`);
      await beside;
      return [record];
    };
  };
  const input = Array.from({ length: numRows }, (_, id) => ({ id: String(id), prompt: 'p' }));
  const stage = mapRowsInFlight(work, { engine, inputPatienceMs: Number.POSITIVE_INFINITY, ...options });
  const done: string[] = [];
  for await (const { records } of stage(rowsOf(input, Math.random))) done.push(records[0]!.id);
  return { engine, done };
}

test('on a GPU the batches are the same for any order of arrival', async () => {
  const [first, second] = [await batchesOf(150), await batchesOf(150)];
  assert.deepEqual(second.engine.batches, first.engine.batches);
  assert.deepEqual(
    first.done,
    Array.from({ length: 150 }, (_, id) => String(id)),
  );
  // 64 rows, of which six ask for nothing, and ten for two things.
  assert.equal(first.engine.batches[0]!.split(' ').length, 64 - 6 + 9);
  assert.ok(!first.engine.isPaced, 'the engine is free again');
});

test('on the CPU the engine does not wait', () => {
  const engine = new BatchedEngine();
  const options = { rowsInEngine: 2, patienceMs: 0 };
  assert.equal(windowFor({ info: { ...engine.info, device: 'cpu' }, pacing: engine }, options), undefined);
  assert.ok(!engine.isPaced);
});

test('the engine waits for the whole window, up to a time limit for rows that do not arrive', async () => {
  const engine = new BatchedEngine();
  const window = new RowWindow(engine, { rowsInEngine: 2, patienceMs: Number.POSITIVE_INFINITY });
  const first = window.enter();
  const asked = first.turn().then(() => engine.ask('1'));
  await sleep(20);
  const second = window.enter();
  await sleep(20);
  assert.deepEqual(engine.batches, [], 'the second row is still loading');
  void second.turn().then(() => engine.ask('2'));
  await asked;
  assert.equal(engine.batches[0], '1 2');
  window.end();
  assert.ok(!engine.isPaced);

  const live = new BatchedEngine();
  const impatient = new RowWindow(live, { rowsInEngine: 2, patienceMs: 5 });
  await impatient
    .enter()
    .turn()
    .then(() => live.ask('1'));
  assert.equal(live.batches[0], '1');
  impatient.end();
});

test('rows that wait at the end, and later ones, are released', async () => {
  const engine = new BatchedEngine();
  const window = new RowWindow(engine, { rowsInEngine: 4, patienceMs: Number.POSITIVE_INFINITY });
  const row = window.enter();
  const early = row.turn();
  window.end();
  await early;
  await window.enter().turn();
});

test('a stopped run ends although rows are waiting', async () => {
  const stop = new AbortController();
  setTimeout(() => stop.abort(new Error('enough')), 30);
  // The rows after these never come.
  async function* rows() {
    for (const id of ['0', '1']) yield { record: { id, prompt: 'p' }, source: 'test', line: 1 };
    await new Promise(() => undefined);
  }
  const engine = new BatchedEngine();
  const work = async ({ record }: Row) => {
    return async () => {
      await engine.ask(record.id);
      return [record];
    };
  };
  const stage = mapRowsInFlight(work, { engine, stop: stop.signal, inputPatienceMs: Number.POSITIVE_INFINITY });
  const done: string[] = [];
  await assert.rejects(async () => {
    for await (const { records } of stage(rows())) done.push(records[0]!.id);
  }, /enough/);
  assert.deepEqual(done, ['0', '1'], 'what could be finished was');
});
