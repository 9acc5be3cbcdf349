// SPDX-License-Identifier: Apache-2.0
// What every data stage promises: shards are the whole, seeds fix the bytes, and a run killed at any moment and resumed
// is the straight run.
import assert from 'node:assert/strict';
import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { collect, ensureBuilt, runCli, spawnCli, temporaryFolder } from './support/run-cli.ts';

const folder = temporaryFolder('data-stages');
const records = join(folder, 'records.ndjson');
const items = join(folder, 'llava.json');

/** Verb and settings; each reads `input` and draws or selects in its own way. */
const stages: { name: string; argv: string[]; input: string; seeded?: true }[] = [
  { name: 'augment, recipe', argv: ['augment', '--op', 'diffusion:step=800'], input: records, seeded: true },
  { name: 'pair, one row a record', argv: ['pair', '--rule', 'seva', '--negatives', '3'], input: records },
  { name: 'pair, several rows a record, some dropped', argv: ['pair', '--rule', 'seva'], input: records },
  { name: 'pair, label noise', argv: ['pair', '--rule', 'seva', '--flip', '0.4'], input: records, seeded: true },
  { name: 'import, questions drawn', argv: ['import', 'llava', '--turns', '2'], input: items, seeded: true },
];

before(() => {
  ensureBuilt();
  const response = (text: string, view: string) => ({ text, view, finish_reason: 'stop' });
  const lines = Array.from({ length: 6000 }, (_, i) => {
    const views = Array.from({ length: 1 + (i % 3) }, (_, k) =>
      response(i % 5 === 0 ? `A cat ${i}.` : `A dog ${i + k}.`, `view${k}`),
    );
    const record = {
      id: `q${i}`,
      images: [`/data/${i}.jpg`],
      prompt: `What is in picture ${i}?`,
      meta: { share: i / 3 },
    };
    return `${JSON.stringify({ ...record, responses: [response(`A cat ${i}.`, 'original'), ...views] })}\n`;
  });
  writeFileSync(records, lines.join(''));
  const dialogues = Array.from({ length: 3000 }, (_, i) => ({
    id: `d${i}`,
    image: `${i}.jpg`,
    conversations: Array.from({ length: 3 }, (_, k) => [
      { from: 'human', value: `${k === 0 ? '<image>\n' : ''}Question ${k} of ${i}?` },
      { from: 'gpt', value: `Answer ${k} of ${i}.` },
    ]).flat(),
  }));
  writeFileSync(items, JSON.stringify(dialogues));
});

async function run(stage: (typeof stages)[number], ...more: string[]): Promise<string> {
  const { code, stdout, stderr } = await runCli([...stage.argv, stage.input, '-q', ...more]);
  assert.equal(code, 0, stderr);
  return stdout;
}

const size = (path: string) => statSync(path, { throwIfNoEntry: false })?.size ?? 0;

for (const stage of stages)
  describe(stage.name, () => {
    test('the shards together are the whole', async () => {
      const whole = (await run(stage)).split('\n').sort();
      assert.ok(whole.length > 1000);
      const shards: string[] = [];
      for (const index of [0, 1, 2]) shards.push(await run(stage, '--shard', `${index}/3`));
      // Each shard ends with a newline, as the whole does once.
      assert.deepEqual(shards.join('').split('\n').sort(), whole);
    });

    test('the same seed gives the same bytes, another seed others where anything is drawn', async () => {
      const [first, again, other] = [
        await run(stage, '--seed', '5'),
        await run(stage, '--seed', '5'),
        await run(stage, '--seed', '6'),
      ];
      assert.ok(first === again);
      assert.equal(first === other, stage.seeded === undefined);
    });

    test('killed at random moments and resumed, it gives the bytes of an uninterrupted run', async () => {
      const straight = await run(stage);
      const path = join(folder, `${stages.indexOf(stage)}.out`);
      let kills = 0;
      while (!existsSync(path)) {
        const child = spawnCli([...stage.argv, stage.input, '-q', '-o', path, '--resume']);
        const ended = collect(child);
        child.stdin!.end();
        const start = size(`${path}.partial`);
        let running = true;
        ended.then(() => {
          running = false;
        });
        while (running && size(`${path}.partial`) === start) await sleep(1);
        await sleep((kills * 7) % 23);
        if (kills < 6) child.kill('SIGKILL');
        const { code } = await ended;
        if (code === 0) break;
        kills += 1;
      }
      assert.ok(readFileSync(path, 'utf8') === straight);
      assert.ok(!existsSync(`${path}.partial`) && !existsSync(`${path}.journal`));
    });
  });
